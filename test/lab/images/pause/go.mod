module herald.invalid/lab/pause

go 1.25.0
