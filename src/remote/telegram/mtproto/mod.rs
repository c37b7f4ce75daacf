//! MTProto with one service: sockets, keys, calls, and connections that are restored.

pub mod answer;
pub mod auth_key;
pub mod call_error;
pub mod connection;
pub mod connection_pool;
pub mod data_centres;
pub mod handshake;
mod packet_check;
pub mod packet_key;
pub mod packets;
pub mod pending;
mod product;
pub mod reconnecting;
pub mod rpc_error;
pub mod service_clock;
pub mod sign_in;
