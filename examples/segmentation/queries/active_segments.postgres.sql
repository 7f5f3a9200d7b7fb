-- The active segments of each user of a range, as vendor/name. PostgreSQL.

SELECT
    profile.user_id,
    count(*) AS active,
    string_agg(concat(detail #>> '{segment,vendor}', '/', detail #>> '{segment,name}'), ', ' ORDER BY place) AS segments
FROM segment_profiles AS profile, json_array_elements(profile.segments) WITH ORDINALITY AS details (detail, place)
WHERE profile.user_id >= 'usr-000000'
  AND profile.user_id < 'usr-000010'
  AND (detail ->> 'member')::boolean
GROUP BY profile.user_id
ORDER BY profile.user_id;
