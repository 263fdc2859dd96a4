package sdk

// Turns is how often somebody was given a connection.
func (u *Unit) Turns() int64 { return u.pool.Stat().AcquireCount() }
