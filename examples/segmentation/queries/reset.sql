-- Drops the tables of this example, and those that Segtide keeps its place and its dead letters in: whatever else it keeps in this database
-- starts over too. Stop `segtide develop` first and delete its directory, or it will not know that the tables are gone.
-- SQLite and PostgreSQL.

DROP TABLE IF EXISTS segment_memberships;
DROP TABLE IF EXISTS segment_profiles;
DROP TABLE IF EXISTS flow_checkpoints_v1;
DROP TABLE IF EXISTS flow_materializations_v2;
DROP TABLE IF EXISTS segtide_dead_letters;
