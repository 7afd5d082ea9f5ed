//! The engine with a worker that is a shell script.

mod damage;
mod fixture;
mod hub;
mod keys;
mod kills;
mod layers;
mod runs;
mod s3;
mod scale;
mod steps;
mod tensorboard;
