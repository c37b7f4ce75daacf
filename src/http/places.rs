//! The places for connections. While all are taken, a newcomer gets the place of the connection that
//! made no progress for longest, in the network with the most connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::sync::MutexExt as _;

use super::client::{ClientNetwork, HttpClient};

/// Idle time before which no connection loses its place: two round trips of a mobile network.
const MIN_IDLE: Duration = Duration::from_millis(400);
/// Interval of looks for an idle connection while every one makes progress.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Table of open connections.
#[derive(Debug)]
pub(super) struct ConnectionTable {
    open: Mutex<OpenConnections>,
    freed: Notify,
    limit: usize,
    /// Maximum for one network; this machine and trusted proxies are exempt.
    network_limit: usize,
}

#[derive(Debug, Default)]
struct OpenConnections {
    next: u64,
    places: HashMap<u64, OpenPlace>,
}

#[derive(Debug)]
struct OpenPlace {
    client: HttpClient,
    /// Set when the connection was told to end.
    is_leaving: bool,
}

/// Place of one connection, free again when it is dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    table: Arc<ConnectionTable>,
    number: u64,
}

/// Outcome of a look for a place.
enum PlaceSearch {
    Found(u64),
    Refused,
    /// Another connection was told to end, or none could be.
    Full,
}

impl ConnectionTable {
    /// Makes a table of `limit` places, of which one network gets `network_limit`.
    pub(super) fn new(limit: usize, network_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            freed: Notify::new(),
            limit,
            network_limit,
        })
    }

    /// Returns a place for a connection; `None` if its network has too many. Waits while every other
    /// connection makes progress.
    pub(super) async fn enter(self: &Arc<Self>, client: &HttpClient) -> Option<ConnectionPlace> {
        loop {
            let freed = self.freed.notified();
            match self.search(client) {
                PlaceSearch::Found(number) => {
                    return Some(ConnectionPlace {
                        table: Arc::clone(self),
                        number,
                    });
                }
                PlaceSearch::Refused => return None,
                PlaceSearch::Full => {
                    let _ = tokio::time::timeout(LOOK_INTERVAL, freed).await;
                }
            }
        }
    }

    fn search(&self, client: &HttpClient) -> PlaceSearch {
        let mut open = self.open.acquire();
        if !client.may_have_many() {
            let same = open.places.values().filter(|place| !place.is_leaving);
            let same = same.filter(|place| place.client.network == client.network);
            if same.count() >= self.network_limit {
                return PlaceSearch::Refused;
            }
        }
        if open.places.len() >= self.limit {
            open.dismiss_one();
            return PlaceSearch::Full;
        }
        let number = open.next;
        open.next += 1;
        let place = OpenPlace {
            client: client.clone(),
            is_leaving: false,
        };
        open.places.insert(number, place);
        PlaceSearch::Found(number)
    }
}

impl OpenConnections {
    /// Tells the idlest connection of the network with the most connections to end, unless one is leaving.
    fn dismiss_one(&mut self) {
        let mut counts: HashMap<ClientNetwork, usize> = HashMap::new();
        for place in self.places.values() {
            if place.is_leaving {
                return;
            }
            *counts.entry(place.client.served()).or_default() += 1;
        }
        let idle = self.places.values_mut();
        let idle = idle.filter(|place| place.client.pulse.idle() >= MIN_IDLE);
        let idlest = idle.max_by_key(|place| {
            let client = &place.client;
            (counts.get(&client.served()).copied(), client.pulse.idle())
        });
        if let Some(place) = idlest {
            place.is_leaving = true;
            place.client.cut.now();
        }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.table.open.acquire().places.remove(&self.number);
        self.table.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::client::PeerKind;

    fn client(address: &str) -> HttpClient {
        HttpClient::new(address.parse().unwrap(), PeerKind::Client)
    }

    #[tokio::test]
    async fn a_network_gets_its_share_and_gives_it_back() {
        let table = ConnectionTable::new(10, 2);
        let first = table.enter(&client("2001:db8::1")).await;
        let second = table.enter(&client("2001:db8::2")).await;
        assert!(first.is_some() && second.is_some());
        assert!(table.enter(&client("2001:db8::3")).await.is_none());
        assert!(table.enter(&client("2001:db8:0:1::3")).await.is_some());
        drop(first);
        assert!(table.enter(&client("2001:db8::3")).await.is_some());
        let here = [(); 3].map(|()| client("127.0.0.1"));
        let mut places = Vec::new();
        for one in &here {
            places.push(table.enter(one).await.unwrap());
        }
        drop((second, places));
        assert!(table.open.lock().unwrap().places.is_empty());
    }

    #[tokio::test]
    async fn a_newcomer_gets_the_place_of_the_idlest_in_the_largest_network() {
        let table = ConnectionTable::new(3, 10);
        let (alone, idle, busy) = (client("10.0.0.1"), client("10.0.0.2"), client("10.0.0.2"));
        let mut places = HashMap::new();
        for (name, one) in [("alone", &alone), ("idle", &idle), ("busy", &busy)] {
            places.insert(name, table.enter(one).await.unwrap());
        }
        tokio::time::sleep(MIN_IDLE).await;
        busy.pulse.beat();
        let newcomer = client("10.0.0.3");
        let (place, ()) = tokio::join!(table.enter(&newcomer), async {
            idle.cut.wait().await;
            places.remove("idle");
        });
        assert!(place.is_some());
        // The others were not told to end.
        for one in [alone, busy] {
            let told = tokio::time::timeout(Duration::ZERO, one.cut.wait()).await;
            assert!(told.is_err());
        }
    }

    #[tokio::test]
    async fn connections_of_a_proxy_count_as_those_of_the_client_behind_it() {
        let table = ConnectionTable::new(3, 1);
        let proxy = || HttpClient::new("192.0.2.1".parse().unwrap(), PeerKind::Proxy);
        let served = ["10.0.0.1", "10.0.0.2", "10.0.0.2"];
        let clients = served.map(|_| proxy());
        let mut places = Vec::new();
        for (one, address) in clients.iter().zip(served) {
            places.push(table.enter(one).await.unwrap());
            one.on_behalf_of(address.parse().unwrap());
        }
        // The first one is the idlest.
        tokio::time::sleep(Duration::from_millis(50)).await;
        clients[1..].iter().for_each(|one| one.pulse.beat());
        tokio::time::sleep(MIN_IDLE).await;
        let newcomer = proxy();
        let both = async {
            tokio::join!(table.enter(&newcomer), async {
                tokio::select! {
                    () = clients[1].cut.wait() => {}
                    () = clients[2].cut.wait() => {}
                }
                places.pop();
            })
        };
        let both = tokio::time::timeout(Duration::from_secs(60), both).await;
        let (place, ()) = both.expect("another client had to leave");
        assert!(place.is_some());
        let told = tokio::time::timeout(Duration::ZERO, clients[0].cut.wait()).await;
        assert!(told.is_err());
    }
}
