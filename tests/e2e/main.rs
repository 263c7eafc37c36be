//! What people do with `ribbon`, on tiny pipelines with the real program: a module an action.

mod accept;
mod diff;
mod edit;
mod example;
mod explain;
mod export;
mod hostile;
mod kill;
mod light;
mod lock;
mod misbehave;
mod publish;
mod run;
mod sandbox;
mod scratch;
mod servers;
mod share;
mod store;
mod sweep;
mod tiny;
mod together;
mod worker;
mod yaml;
