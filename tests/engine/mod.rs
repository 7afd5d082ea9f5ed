//! The engine with a worker that is a shell script.

mod chaos;
mod damage;
mod dice;
mod fixture;
mod hub;
mod keys;
mod kills;
mod orphans;
mod runs;
mod scale;
mod steps;
mod tensorboard;
mod together;
