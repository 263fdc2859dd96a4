//go:build !seed30

package postgres

// question is what an observation asks the server: reads only (I16).
func question() string { return look }
