//! What the registry promises, one call at a time; loom/ has the orders in which threads may make them.

use super::*;

#[test]
fn random_bits_differ_within_a_block_and_beyond_it() {
    let mut random = Random::default();
    let seen: std::collections::HashSet<u32> = (0..256).map(|_| random.next()).collect();
    // 256 of 2^32: that three of them are others' equals is not to be seen in the age of the universe.
    assert!(seen.len() > 252, "{}", seen.len());
}

#[test]
fn a_slot_is_used_again_only_after_its_close_was_delivered() {
    let registry = Registry::new(1, 100, 1 << 20);
    let first = registry.open(0).unwrap();
    assert!(registry.open(0).is_none(), "the only slot is taken");
    assert!(registry.close(first.id));
    assert!(registry.open(0).is_none(), "its Close is not delivered yet");
    registry.release(first.id);
    let second = registry.open(0).unwrap();
    assert_eq!(first.id.slot, second.id.slot);
    assert_eq!(registry.resolve(first), None, "the old name does not reach the new socket");
    assert_eq!(registry.resolve(second), Some(second.id));
}

#[test]
fn generations_do_not_repeat_where_their_bits_run_over() {
    for node in [0, 1, 0xf_fffd, 0xf_fffe, 0xf_ffff, 0x1f_ffff] {
        let mut registry = Registry::new(1, 100, 1 << 20);
        registry.node = node;
        let mut seen = Vec::new();
        for _ in 0..6 {
            let id = registry.open(0).unwrap().id;
            assert!(!seen.contains(&id.generation), "{node:x}: {seen:x?} {:x}", id.generation);
            seen.push(id.generation);
            registry.release(id);
        }
    }
}

#[test]
fn a_guess_or_another_node_is_unknown() {
    let registry = Registry::new(4, 100, 1 << 20);
    let uuid = registry.open(0).unwrap();
    assert_eq!(uuid.node, registry.node());
    assert_eq!(registry.resolve(Uuid { random: uuid.random ^ 1, ..uuid }), None);
    assert_eq!(registry.resolve(Uuid { node: uuid.node ^ 1, ..uuid }), None);
    let beyond = SocketId { slot: u32::MAX, generation: 1 };
    assert_eq!(registry.resolve(Uuid { id: beyond, ..uuid }), None);
}

#[test]
fn a_broadcast_is_counted_once_and_refused_when_too_much_waits_in_all() {
    let registry = Registry::new(1, 100, 150);
    assert!(registry.reserve_shared(150), "up to the limit");
    assert!(!registry.reserve_shared(1));
    assert_eq!(registry.buffered_total(), 150);
    registry.unreserve_shared(150);
    assert_eq!(registry.buffered_total(), 0);
}

#[test]
fn topics_are_left_once_and_taken_at_the_end() {
    let registry = Registry::new(1, 100, 1 << 20);
    let id = registry.open(0).unwrap().id;
    let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
    assert_eq!((registry.subscribe(id, &a), registry.subscribe(id, &b)), (Ok(true), Ok(true)));
    assert_eq!(registry.unsubscribe(id, "a"), Ok(true));
    assert_eq!(registry.unsubscribe(id, "a"), Ok(false));
    assert!(registry.take_topics(id).into_iter().eq([b]));
    assert!(registry.topics(id).is_empty());
}

#[test]
fn slots_are_given_in_turn_and_each_holder_of_one_is_told_apart() {
    let registry = Registry::new(4, 100, 1 << 20);
    let (a, b) = (registry.open(3).unwrap(), registry.open(5).unwrap());
    assert_eq!((a.id.slot, b.id.slot), (0, 1));
    assert_eq!((registry.shard_of(0), registry.shard_of(1)), (3, 5));
    // A server that starts later counts from elsewhere.
    assert_eq!(a.id.generation, (registry.node() as u32).wrapping_add(1) & GENERATION_MASK);
    registry.release(a.id);
    let again = registry.open(0).unwrap();
    assert_eq!(again.id.slot, 0);
    assert_eq!(again.id.generation, a.id.generation.wrapping_add(1) & GENERATION_MASK);
    assert_eq!((registry.uuid(a.id), registry.uuid(again.id)), (None, Some(again)));
    assert_eq!(registry.uuids(), [again, b]);
    registry.close(again.id);
    assert_eq!((registry.is_open(again.id), registry.is_open(b.id)), (false, true));
    assert_eq!(registry.uuid(again.id), Some(again), "until its Close was delivered");
    assert_eq!(registry.uuids(), [b]);
    registry.release(again.id);
    assert_eq!(registry.uuid(again.id), None);
}

#[test]
fn an_empty_queue_takes_any_message_a_full_one_drops_and_then_tells_of_room() {
    let registry = Registry::new(4, 100, 1 << 20);
    let id = registry.open(0).unwrap().id;
    assert_eq!(registry.reserve(id, 1000), Reserved::Ok);
    assert_eq!(registry.reserve(id, 1), Reserved::Full);
    assert_eq!(registry.buffered(id), 1000);
    assert!(!registry.unreserve(id, 900), "100 left is more than half of the limit");
    assert!(registry.unreserve(id, 60), "40 left: room again");
    assert!(!registry.unreserve(id, 40), "told once");
    assert_eq!(registry.buffered_total(), 0);
}

#[test]
fn a_message_that_does_not_fit_behind_a_small_one_is_dropped_at_once() {
    let registry = Registry::new(4, 100, 1 << 20);
    let id = registry.open(0).unwrap().id;
    assert_eq!(registry.reserve(id, 10), Reserved::Ok);
    assert_eq!(registry.reserve(id, 95), Reserved::Full);
    assert!(registry.unreserve(id, 10), "and told of when the small one has left");
    assert_eq!(registry.reserve(id, 95), Reserved::Ok);
}

#[test]
fn when_too_much_waits_in_all_even_an_empty_queue_takes_nothing_and_is_told_of_room() {
    let registry = Registry::new(4, 100, 150);
    let (a, b) = (registry.open(0).unwrap().id, registry.open(1).unwrap().id);
    assert_eq!(registry.reserve(a, 100), Reserved::Ok);
    assert_eq!(registry.reserve(b, 60), Reserved::Starved);
    assert_eq!(registry.buffered(b), 0);
    assert_eq!(registry.reserve(b, 50), Reserved::Ok);
    assert!(!registry.may_send_again(1), "all of it waits still");
    assert!(!registry.unreserve(a, 100));
    assert!(registry.may_send_again(1));
    assert!(!registry.may_send_again(1), "told once");
    assert!(!registry.may_send_again(0), "nothing of this shard was refused");
    assert!(registry.has_room_again(b));
    assert!(!registry.has_room_again(b), "told once");
    assert_eq!(registry.reserve_in_order(a, 100), Reserved::Ok);
    assert_eq!(registry.reserve_in_order(b, 50), Reserved::Ok, "a broadcast's bytes count once");
}

#[test]
fn a_closed_socket_takes_nothing_and_closes_once() {
    let registry = Registry::new(4, 100, 1 << 20);
    let id = registry.open(0).unwrap().id;
    assert_eq!(registry.len(), 1);
    assert!(registry.close(id));
    assert!(!registry.close(id));
    assert_eq!(registry.reserve(id, 1), Reserved::Unknown);
    assert_eq!(registry.len(), 0);
}

#[test]
fn a_socket_has_at_most_max_topics_and_loses_them_with_its_slot() {
    let registry = Registry::new(1, 100, 1 << 20);
    let uuid = registry.open(0).unwrap();
    for n in 0..MAX_TOPICS {
        assert_eq!(registry.subscribe(uuid.id, &Arc::from(n.to_string())), Ok(true));
    }
    assert_eq!(registry.subscribe(uuid.id, &Arc::from("0")), Ok(false));
    assert_eq!(registry.subscribe(uuid.id, &Arc::from("one more")), Err(SendStatus::Dropped));
    assert_eq!(registry.topics(uuid.id).len(), MAX_TOPICS);
    registry.release(uuid.id);
    let next = registry.open(0).unwrap();
    assert!(registry.topics(next.id).is_empty());
}
