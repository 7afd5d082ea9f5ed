//! The engine with a worker that is a shell script.

mod damage;
mod fixture;
mod hub;
mod keys;
mod runs;
mod scale;
