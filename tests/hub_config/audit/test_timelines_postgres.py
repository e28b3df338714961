"""Timelines and searches once more where control's data is in PostgreSQL."""

from __future__ import annotations

import pytest
from enclave import Enclave

from tests.hub_config.audit import test_search as search
from tests.hub_config.audit import test_timelines as timelines


@pytest.fixture
def cardio(cardio_on_postgres: Enclave) -> Enclave:
    return cardio_on_postgres


class TestTimelines:
    @pytest.fixture
    def day(self, cardio: Enclave) -> timelines.Day:
        return timelines.Day(cardio)

    test_person = staticmethod(timelines.test_a_persons_timeline_is_what_they_did_and_what_was_done_about_them)
    test_dataset = staticmethod(timelines.test_a_datasets_timeline_is_its_versions_requests_reads_and_exports)
    test_notebook = staticmethod(
        timelines.test_a_notebooks_timeline_is_its_cells_as_they_were_run_with_what_came_between
    )
    test_pages = staticmethod(timelines.test_beside_too_much_a_page_ends_early_and_the_next_goes_on)
    test_export = staticmethod(timelines.test_all_that_led_to_a_file_from_the_data_to_the_release)
    test_who_sees = staticmethod(timelines.test_who_sees_how_much_of_an_exports_chain)


class TestSearch:
    @pytest.fixture
    def day(self, cardio: Enclave) -> Enclave:
        return search.ran(cardio)

    test_words = staticmethod(search.test_text_is_found_by_its_words)
    test_reach = staticmethod(search.test_nobody_searches_what_they_may_not_read)
    test_filters = staticmethod(search.test_times_labels_and_datasets)
