"""What must never both come about, once more where control's data is in PostgreSQL."""

from __future__ import annotations

import pytest
from enclave import Enclave

from tests.hub_config.policies import test_guards as guards


@pytest.fixture
def cardio(cardio_on_postgres: Enclave) -> Enclave:
    return cardio_on_postgres


test_a_new_guard = guards.test_a_new_guard_is_tried_on_the_grants_that_there_are
test_a_guard_after_the_look = guards.test_a_guard_that_comes_into_force_after_the_look_stops_the_grant
test_a_grant_after_the_look = guards.test_a_grant_that_is_made_after_the_look_stops_the_guard
test_the_last_look_inside = guards.test_where_something_is_added_at_each_look_the_last_one_is_inside_the_transaction
test_both_in_one_transaction = guards.test_a_grant_and_a_guard_against_it_in_one_transaction_are_never_both_made
test_nobody_waits = guards.test_nobody_waits_while_guards_are_asked_about_a_grant
test_two_grants_at_once = guards.test_two_grants_at_once_are_looked_at_together
