//! Requests that wait, where the memory for those of all connections is used up.

use mailrail_broker::Held;

use super::House;
use crate::config::WAITS_BYTES_MAX;
use crate::outstanding::OUTSTANDING_FREE_COUNT;

#[test]
fn where_memory_for_waits_is_used_up_a_connection_has_a_few_and_hears_that_the_broker_is_busy() {
    let house = House::open();
    let mut client = house.client();
    let config = client.connection.config.clone();
    client.send(0, "T", 0, "", b"one");
    let few = i32::try_from(OUTSTANDING_FREE_COUNT).unwrap();
    let mut others = Held::new(config.waits.clone(), WAITS_BYTES_MAX);
    (0..few).for_each(|n| client.pull(n, "T", 0, 1, "*"));
    client.pull(few, "T", 0, 1, "*");
    assert!(client.received().is_none(), "there was room");
    // The last of them counts as well.
    assert!(config.waits.is_used_up());
    others.set(0);
    client.pull(few + 1, "T", 0, 1, "*");
    assert!(client.received().is_none(), "there is room again");
    others.set(WAITS_BYTES_MAX + 1);
    client.pull(few + 2, "T", 0, 1, "*");
    let busy = client.next();
    assert_eq!((busy.code, busy.opaque), (2, few + 2), "{busy:?}");
    let mut second = house.client_of(config);
    (0..few).for_each(|n| second.pull(n, "T", 0, 1, "*"));
    assert!(second.received().is_none(), "a few always find room");
    second.pull(few, "T", 0, 1, "*");
    assert_eq!(second.next().code, 2);
}
