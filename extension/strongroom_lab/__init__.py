"""The server half of the Lab extension: gate, guards and the REST that the Lab panels use."""
