"""When a batch starts and what is in it: every rule alone, then all together on random sequences."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.batcher import LIVE_S, Batcher, QueueFull


def make(max_batch=100, deadline_s=0.002, share=0.5, **settings):
    return Batcher(max_batch=max_batch, deadline_s=deadline_s, share=share, **settings)


def put(batcher, *requests, now=0.0):
    return [batcher.put(client, agent, count, None, now) for client, agent, count in requests]


def known(batcher, clients, count=10, agent="x", under_way=2):
    """Make the batcher know clients that keep some requests under way, of which none waits now."""
    put(batcher, *[(client, agent, count) for client in clients for _ in range(under_way)])
    batcher.clear()


def test_nothing_waits():
    assert make().take(0.0) == ([], None)


def test_a_lone_client_waits_for_nobody():
    batcher = make(share=1.0)
    request = put(batcher, ("a", "x", 3))
    assert batcher.take(0.0).requests == request
    assert len(batcher) == 0


def test_a_busy_device_gets_nothing():
    batcher = make()
    request = put(batcher, ("a", "x", 100))
    assert batcher.take(1.0, device_free=False) == ([], None)
    assert batcher.take(1.0, device_free=True).requests == request


def test_waits_for_the_share_of_the_supply():
    batcher = make(share=0.5)
    known(batcher, "ab")  # two clients, two requests each, of 10 leaves: supply 40
    (first,) = put(batcher, ("a", "x", 10))
    assert batcher.take(0.0) == ([], 0.002)
    (second,) = put(batcher, ("b", "x", 10), now=0.001)
    assert batcher.take(0.001).requests == [first, second]


def test_share_of_zero_never_waits():
    batcher = make(share=0.0)
    known(batcher, "ab")
    request = put(batcher, ("a", "x", 1))
    assert batcher.take(0.0).requests == request


def test_waits_until_the_deadline_and_no_longer():
    batcher = make(share=1.0)
    known(batcher, "ab")
    request = put(batcher, ("a", "x", 10), now=0.5)
    taken, ask_again = batcher.take(0.501)
    assert not taken
    assert ask_again == pytest.approx(0.502)
    assert batcher.take(ask_again).requests == request


def test_nobody_waits_longer_than_one_more_batch_would_cost():
    batcher = make(share=1.0, batch_s={"x": 0.0005, "y": 0.1})
    known(batcher, "ab", agent="x")
    known(batcher, "ab", agent="y")
    (slow,) = put(batcher, ("a", "y", 10), now=0.5)
    (quick,) = put(batcher, ("b", "x", 10), now=0.501)
    taken, ask_again = batcher.take(0.501)
    assert not taken
    assert ask_again == pytest.approx(0.5015)  # though the other came first
    assert batcher.take(ask_again).requests == [quick]
    taken, ask_again = batcher.take(0.5016)
    assert not taken
    assert ask_again == pytest.approx(0.502)  # the deadline of all
    assert batcher.take(ask_again).requests == [slow]


def test_the_wait_counts_from_when_the_device_is_free():
    batcher = make(share=1.0)
    known(batcher, "ab")
    (first,) = put(batcher, ("a", "x", 10), now=0.5)
    assert batcher.take(0.502).requests == [first]
    (second,) = put(batcher, ("b", "x", 10), now=0.503)
    batcher.done([first], 0.6)
    taken, ask_again = batcher.take(0.6)
    assert not taken
    assert ask_again == pytest.approx(0.602)
    assert batcher.take(ask_again).requests == [second]


def test_an_agent_that_fills_the_device_does_not_starve_another():
    batcher = make(share=0.5)
    known(batcher, "ab", agent="y")
    known(batcher, "ab", agent="x")
    (starved,) = put(batcher, ("a", "x", 1), now=0.0)
    agents = []
    for turn in range(6):
        now = 0.0015 * turn  # between batches less than anyone waits
        put(batcher, ("b", "y", 100), now=now)  # always enough to start at once
        taken = batcher.take(now).requests
        agents.append(taken[0].agent)
        batcher.done(taken, now + 0.0015)
    assert agents == ["y", "y", "y", "x", "y", "y"]
    assert starved.offered == 0.0015


def test_every_live_client_waiting_is_enough():
    batcher = make(share=1.0)
    known(batcher, "ab", count=50, under_way=1)  # supply 100, but they send less today
    (first,) = put(batcher, ("a", "x", 5))
    assert not batcher.take(0.0).requests
    (second,) = put(batcher, ("b", "x", 5))
    assert batcher.take(0.0).requests == [first, second]


def test_a_client_that_waits_for_another_agent_is_not_waited_for():
    batcher = make(share=1.0)
    known(batcher, "ab", under_way=1)
    (first,) = put(batcher, ("a", "x", 10))
    (second,) = put(batcher, ("b", "y", 10))
    assert batcher.take(0.0).requests == [first]
    # The other is alone now that a's request is being evaluated, but a may soon ask y: wait.
    batcher.done([first], 0.0)
    assert batcher.take(0.002).requests == [second]


def test_a_full_batch_starts_at_once_and_is_cut_at_whole_requests():
    batcher = make(max_batch=100, share=1.0)
    known(batcher, "abc", count=90)
    first, second, third = put(batcher, ("a", "x", 60), ("b", "x", 50), ("c", "x", 40))
    assert batcher.take(0.0).requests == [first]
    assert batcher.take(0.002).requests == [second, third]


def test_a_request_larger_than_a_batch_goes_alone():
    batcher = make(max_batch=100)
    large, small = put(batcher, ("a", "x", 500), ("b", "x", 1))
    assert batcher.take(0.0).requests == [large]
    assert batcher.take(1.0).requests == [small]


def test_the_agent_of_the_oldest_request_comes_first():
    batcher = make()
    (oldest,) = put(batcher, ("a", "x", 5), now=0.1)
    (middle,) = put(batcher, ("b", "y", 50), now=0.2)
    (newest,) = put(batcher, ("c", "x", 5), now=0.3)
    assert batcher.take(0.4).requests == [oldest, newest]
    assert batcher.take(0.4).requests == [middle]


def test_a_silent_client_is_forgotten():
    batcher = make(share=1.0, deadline_s=10.0)
    known(batcher, "ab", under_way=1)
    later = LIVE_S + 0.1
    request = put(batcher, ("a", "x", 10), now=later)
    assert batcher.take(later).requests == request


def test_a_client_whose_request_is_on_the_device_is_not_forgotten():
    batcher = make(share=1.0, deadline_s=10.0)
    (slow,) = put(batcher, ("a", "x", 10))
    assert batcher.take(0.0).requests == [slow]
    put(batcher, ("b", "x", 10), now=2 * LIVE_S)
    batcher.done([slow], 2 * LIVE_S)  # a can send again at any moment
    assert not batcher.take(2 * LIVE_S).requests


def test_a_missing_client_makes_the_rest_enough_before_a_long_deadline():
    batcher = make(share=1.0, deadline_s=10.0)
    known(batcher, "ab", under_way=1)
    request = put(batcher, ("a", "x", 10), now=0.5)
    taken, ask_again = batcher.take(0.5)
    assert not taken
    assert ask_again == LIVE_S
    assert batcher.take(ask_again).requests == request


def test_held_agents_wait_without_a_deadline():
    batcher = make()
    request = put(batcher, ("a", "x", 100))
    assert batcher.take(5.0, held={"x"}) == ([], None)
    assert batcher.take(5.0).requests == request


def test_a_withdrawn_request_is_gone():
    batcher = make()
    first, second = put(batcher, ("a", "x", 3), ("a", "x", 4))
    assert batcher.withdraw(first)
    assert not batcher.withdraw(first)
    assert batcher.take(1.0).requests == [second]
    assert not batcher.withdraw(second)


def test_clear_gives_everything_back():
    batcher = make()
    requests = put(batcher, ("a", "x", 3), ("b", "y", 4))
    assert batcher.clear() == requests
    assert len(batcher) == 0
    assert batcher.take(1.0) == ([], None)


def test_the_queue_is_bounded():
    batcher = make(most_waiting=2)
    put(batcher, ("a", "x", 1), ("b", "x", 1))
    with pytest.raises(QueueFull, match="2 requests wait"):
        put(batcher, ("c", "x", 1))
    batcher.take(1.0)
    put(batcher, ("c", "x", 1))


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.integers(0, 70)),
        st.tuples(st.just("take"), st.booleans(), st.just(None), st.just(0)),
        st.tuples(st.just("withdraw"), st.just(None), st.just(None), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.sampled_from([0.0005, 0.002, 0.5, 2.0]), st.just(None), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(EVENTS, st.sampled_from([0.0, 0.4, 1.0]))
def test_every_request_leaves_once_in_order_in_batches_of_one_agent(events, share):
    batcher, now = make(max_batch=100, share=share), 0.0
    waiting, on_device, given_out = [], [], []

    def take(device_free):
        requests, ask_again = batcher.take(now, device_free)
        if not requests:
            assert ask_again is None or ask_again > now
            assert ask_again is not None or not device_free or not waiting
            return
        assert device_free
        assert len({r.agent for r in requests}) == 1
        assert len(requests) == 1 or sum(r.count for r in requests) <= 100
        # Nobody who asked this agent earlier is left behind.
        assert requests == [r for r in waiting if r.agent == requests[0].agent][: len(requests)]
        for request in requests:
            waiting.remove(request)
        given_out.extend(requests)
        on_device.append(requests)

    sent = 0
    for kind, first, agent, number in events:
        if kind == "put":
            waiting.append(batcher.put(first, agent, number, sent, now))
            sent += 1
        elif kind == "take":
            take(first)
        elif kind == "withdraw" and waiting:
            request = waiting.pop(number % len(waiting))
            assert batcher.withdraw(request)
            given_out.append(request)
        elif kind == "wait":
            now += first
            while on_device:
                batcher.done(on_device.pop(), now)
        assert len(batcher) == len(waiting)
    for _ in range(2 * sent + 2):
        now += 0.002  # nothing may wait longer than its deadline
        take(True)
    assert not waiting
    assert len(batcher) == 0
    assert sorted(r.payload for r in given_out) == list(range(sent))


@pytest.mark.parametrize("agents", [2, 8, 9, 30])
def test_requests_of_agents_in_rotation_wait_for_those_of_other_clients(agents):
    """However many agents a client asks in turn, it comes back to each, and a batch of both clients is waited for."""
    batcher = Batcher(max_batch=1000, deadline_s=1.0, share=0.9)
    now, sizes = 0.0, []
    for turn in range(4 * agents):
        agent = f"agent_{turn % agents}"
        for client in ("a", "b"):
            now += 0.001
            batcher.put(client, agent, 10, None, now)
            taken = batcher.take(now).requests
            if taken:
                batcher.done(taken, now)
                sizes.append(sum(request.count for request in taken))
    # While nothing is known of an agent the first request of each is answered at once.
    assert sizes[2 * agents :] == [20] * (len(sizes) - 2 * agents) and len(sizes) >= 3 * agents


def test_a_client_that_asks_for_an_agent_no_more_is_not_waited_for():
    batcher = Batcher(max_batch=1000, deadline_s=1.0, share=0.9)
    now = 0.0
    for turn in range(60):
        now += 0.001
        batcher.put("a", "left" if turn < 2 else "kept", 10, None, now)
        batcher.put("b", "kept", 10, None, now)
        while taken := batcher.take(now + 1.0).requests:
            batcher.done(taken, now)
    batcher.put("b", "left", 10, None, now)
    assert [request.client for request in batcher.take(now).requests] == ["b"]
