package sim

import "time"

// Run simulates the world of one seed from its creation to rest. It returns at the first broken invariant.
func Run(cfg Config) (result Result) {
	w := build(cfg)
	defer func() {
		result = Result{Hash: w.hash, Virtual: time.Duration(w.now), Events: w.events, Stats: w.stats}
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			result.Violation = f.v
		}
	}()
	w.begin()
	w.storm()
	w.run(int64(w.profile.length) + int64(5*time.Second))
	w.calm()
	w.run(w.now + int64(w.profile.rest)*2/3)
	w.stopped = true
	w.run(w.now + int64(w.profile.rest)/3)
	w.atRest()
	return result
}
