-- Every segment that one user is or was in: when first added, and when last heard of. PostgreSQL.

SELECT
    (detail #>> '{segment,vendor}')::bigint AS vendor,
    detail #>> '{segment,name}' AS segment_name,
    CASE WHEN (detail ->> 'member')::boolean THEN 'active' ELSE 'inactive' END AS status,
    detail ->> 'first' AS first_seen,
    detail ->> 'last' AS last_update,
    detail ->> 'value' AS value
FROM segment_profiles AS profile, json_array_elements(profile.segments) AS details (detail)
WHERE profile.user_id = 'usr-00000a'
ORDER BY last_update DESC;
