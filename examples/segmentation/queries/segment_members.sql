-- Who is in a segment now. A segment's name means something only together with its vendor.
-- SQLite and PostgreSQL.

SELECT user_id, first AS first_added, last AS last_event, value
FROM segment_memberships
WHERE vendor = 6
  AND segment_name = 'seg-5'
  AND member
ORDER BY user_id;
