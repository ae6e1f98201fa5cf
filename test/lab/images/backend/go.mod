module herald/test/lab/images/backend

go 1.24
