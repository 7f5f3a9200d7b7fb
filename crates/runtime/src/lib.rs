//! Tasks, shards, the transaction lifecycle, shuffles, catalog tests.
