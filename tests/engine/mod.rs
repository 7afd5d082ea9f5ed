//! The engine with a worker that is a shell script.

mod damage;
mod fixture;
mod hub;
mod keys;
mod kills;
mod runs;
mod scale;
mod steps;
mod tensorboard;
