//go:build seed15

package estate

// After does not compare incarnations (I10).
func (i Incarnation) After(Incarnation) bool { return false }
