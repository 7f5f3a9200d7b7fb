-- Every segment that one user is or was in: when first added, and when last heard of. SQLite.

SELECT
    detail.value ->> '$.segment.vendor' AS vendor,
    detail.value ->> '$.segment.name' AS segment_name,
    CASE WHEN detail.value ->> '$.member' THEN 'active' ELSE 'inactive' END AS status,
    detail.value ->> '$.first' AS first_seen,
    detail.value ->> '$.last' AS last_update,
    detail.value ->> '$.value' AS value
FROM segment_profiles AS profile, json_each(profile.segments) AS detail
WHERE profile.user_id = 'usr-00000a'
ORDER BY last_update DESC;
