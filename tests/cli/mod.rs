//! The program as its users meet it: exit codes, messages, JSON.

mod bad_input;
mod checking;
mod diff;
mod disk;
mod doctor;
mod experiments;
mod fixture;
mod formatting;
mod importing;
mod interrupt;
mod json;
mod metrics;
mod planning;
mod prices;
mod queries;
mod reasons;
mod room;
mod running;
mod runs;
