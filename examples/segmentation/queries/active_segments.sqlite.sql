-- The active segments of each user of a range, as vendor/name. SQLite.

SELECT
    profile.user_id,
    count(*) AS active,
    group_concat(detail.value ->> '$.segment.vendor' || '/' || (detail.value ->> '$.segment.name'), ', ') AS segments
FROM segment_profiles AS profile, json_each(profile.segments) AS detail
WHERE profile.user_id >= 'usr-000000'
  AND profile.user_id < 'usr-000010'
  AND detail.value ->> '$.member'
GROUP BY profile.user_id
ORDER BY profile.user_id;
