// Command corebank is the reference system: a small bank on package sdk.
package main

import _ "embed"

//go:embed schema.sql
var schemaSQL string

func main() {}
