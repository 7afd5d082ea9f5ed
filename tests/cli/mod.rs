//! The program as its users meet it: exit codes, messages, JSON.

mod bad_input;
mod checking;
mod disk;
mod doctor;
mod experiments;
mod fixture;
mod formatting;
mod interrupt;
mod json;
mod planning;
mod queries;
mod reasons;
mod running;
