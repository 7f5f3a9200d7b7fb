INSERT INTO t VALUES ($id);
SELECT $id, $a_b, $p::(a-b) AS dash, $y0, $p::(odd $name) AS odd, $x$y WHERE $id IS NOT NULL
