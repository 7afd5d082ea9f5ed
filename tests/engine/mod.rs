//! The engine with a worker that is a shell script.

mod buckets;
mod checks;
mod damage;
mod fixture;
mod hub;
mod keys;
mod kills;
mod layers;
mod room;
mod runs;
mod s3;
mod scale;
mod steps;
mod tensorboard;
