//go:build !seed2

package sdk

// cutShort reports whether a COMMIT since the last reset may have been let go before the copies had it.
func (s *session) cutShort() bool { return s.warned }
