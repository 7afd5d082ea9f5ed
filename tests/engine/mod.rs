//! The engine with a worker that is a shell script.

mod buckets;
mod chaos;
mod checks;
mod damage;
mod dice;
mod fixture;
mod hub;
mod keys;
mod kills;
mod launchers;
mod layers;
mod limits;
mod orphans;
mod replaced;
mod room;
mod runs;
mod s3;
mod scale;
mod steps;
mod tensorboard;
mod together;
mod torn;
