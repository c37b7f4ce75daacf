//! Speaks MTProto to one service: sockets, keys, calls, connections that come back.

pub mod call_error;
pub mod connection;
pub mod connection_pool;
pub mod data_centres;
pub mod handshake;
pub mod reconnecting;
pub mod rpc_error;
pub mod sign_in;
