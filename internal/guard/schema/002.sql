-- Version 2: a request says when its key was made, where the application found out.

alter type perdure.request add attribute made timestamptz; -- infinity where the key does not say, null: read it from the key
