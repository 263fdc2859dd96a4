package sim

import (
	"time"

	"perdure/internal/unit"
)

// Profile names a kind of world: what estate it is and what befalls it.
type Profile string

// The profiles. The empty one picks by the seed among the others.
const (
	Mixed     Profile = ""          // whatever the seed says
	Storm     Profile = "storm"     // every fault there is
	Calm      Profile = "calm"      // short faults only: nothing may switch by itself
	Planned   Profile = "planned"   // many planned switches, few faults
	Copies    Profile = "copies"    // faults of copies and links: the in-sync set grows and shrinks
	Owners    Profile = "owners"    // owners die
	Store     Profile = "store"     // the control store suffers
	Recovery  Profile = "recovery"  // the store's majority is lost and recovered elsewhere
	Leader    Profile = "leader"    // the store's leader is killed every five seconds, nothing else
	SlowCopy  Profile = "slow-copy" // copies hang, owners are well
	Isolation Profile = "isolation" // the owner's site is cut off, alive, sometimes but for replication
	Aborted   Profile = "aborted"   // planned switches that are undone
	Late      Profile = "late"      // planned switches while answers come late
	Links     Profile = "links"     // single links between sites fail
	Succeed   Profile = "succeed"   // whoever is decided is gone before it opens
)

type profile struct {
	name      Profile
	sites     int
	groups    int
	clients   int
	think     time.Duration
	pinned    bool
	minInSync int
	failover  unit.FailoverPolicy
	damping   time.Duration

	length   time.Duration // of the part with faults
	rest     time.Duration // of the part without: long enough for a copy that has to be made anew, which takes 15 times Timing.Stuck to be seen
	gap      time.Duration // mean time between faults
	weights  [faults]int
	switches int // per mille a second and group
	aborts   int
	hiccups  int // per 10,000 actions
	longWork int // per mille
	twice    int
	late     int
}

// profileOf fills in what a profile leaves to the seed.
func profileOf(name Profile, w *world) profile {
	r := w.rng
	if name == Mixed {
		all := []Profile{Storm, Storm, Storm, Planned, Copies, Copies, Owners, Owners, Store, Recovery, Isolation, SlowCopy, Calm, Aborted, Late, Links, Succeed}
		name = all[r.IntN(len(all))]
	}
	p := profile{
		name: name, sites: 3, groups: 2, clients: 4, think: 400 * time.Millisecond, failover: unit.Auto, damping: 10 * time.Second,
		length: 100 * time.Second, rest: 90 * time.Second, gap: 6 * time.Second, longWork: 10, twice: 30, hiccups: 20, switches: 10, aborts: 50,
		late: 5,
	}
	if r.IntN(4) == 0 {
		p.sites = 5
	}
	p.pinned = r.IntN(8) == 0
	if r.IntN(6) == 0 {
		p.minInSync = 1
	}
	if r.IntN(8) == 0 {
		p.failover = unit.Confirm
	}
	if r.IntN(4) == 0 {
		p.damping = 30 * time.Second
	}
	p.choose(name)
	return p
}

func (p *profile) choose(name Profile) {
	all := func(n int) {
		for i := range p.weights {
			p.weights[i] = n
		}
	}
	set := func(n int, kinds ...int) {
		for _, k := range kinds {
			p.weights[k] = n
		}
	}
	switch name {
	case Storm:
		all(4)
		set(0, successorGone) // it has a profile of its own: it needs time
		p.switches = 30
	case Calm:
		set(4, shortPause, backendCrash, cancelCommits, agentCrash, nodeCrash, appCrash, gatewayCrash, lateNet, nodeLag, wallStep)
		p.switches, p.hiccups = 0, 0
	case Planned:
		set(2, shortPause, agentCrash, agentPause, cancelCommits, databaseCrash, backendCrash, nodePause, lateNet, nodeLag, replayConflict, slowDisk, slowStore)
		p.switches, p.aborts, p.gap, p.longWork = 120, 200, 10*time.Second, 60
	case Copies:
		set(4, walCut, cutOneWay, cutBoth, copyCrash, copyPause, frozenCheckpointer, slowDisk, cancelCommits, agentPause, agentCrash, lossyNet, backendCrash, lateNet, slowStore, nodeLag)
		set(1, databaseCrash, siteDown)
		p.sites, p.gap = 5, 4*time.Second
	case Owners:
		set(4, databaseCrash, databasePause, siteDown, sitePause, isolate, backendCrash, cancelCommits, agentCrash, hostCrash)
		set(2, deafSite, walCut, copyPause, replayConflict, nodeLag, agentPause, falseDeath, copyCrash)
		p.gap = 8 * time.Second
	case Store:
		set(4, leaderCrash, nodeCrash, nodePause, nodeLag, majorityDown, cutBoth, cutOneWay, lateNet, lossyNet, slowStore)
		set(2, databaseCrash, agentCrash, scattered)
	case Recovery:
		set(2, databaseCrash, shortPause, nodeLag, cancelCommits)
		set(8, cityLost)
		p.gap, p.length, p.rest, p.sites, p.pinned, p.minInSync = 15*time.Second, 110*time.Second, 90*time.Second, 3, false, 0
	case Leader:
		p.switches, p.hiccups = 0, 0
		p.length, p.rest = 60*time.Second, 20*time.Second
	case SlowCopy:
		set(4, copyPause, slowDisk, walCut, copyCrash, cancelCommits)
		p.switches, p.gap, p.failover, p.hiccups = 0, 5*time.Second, unit.Auto, 0
	case Isolation:
		set(6, isolate, controlCut, sitePause)
		set(4, deafSite, copyCrash)
		set(2, wallStep, lateNet, cutBoth)
		p.failover, p.gap, p.think, p.minInSync = unit.Auto, 12*time.Second, 100*time.Millisecond, 0
	case Aborted:
		set(6, replayConflict, copyPause)
		set(2, agentPause, agentCrash, backendCrash, nodeLag, slowStore)
		p.switches, p.aborts, p.gap, p.longWork, p.think = 250, 900, 3*time.Second, 150, 200*time.Millisecond
	case Late:
		set(6, appPause, lateNet)
		set(2, databasePause, gatewayCrash, shortPause)
		p.switches, p.aborts, p.gap, p.think, p.minInSync, p.pinned, p.hiccups = 300, 0, 3*time.Second, 100*time.Millisecond, 0, false, 0
	case Links:
		set(6, cutBoth, cutOneWay, walCut, controlCut)
		p.switches, p.gap, p.failover, p.minInSync, p.hiccups = 0, 6*time.Second, unit.Auto, 0, 0
	case Succeed:
		set(6, successorGone)
		set(1, copyCrash, nodeLag, shortPause, databaseCrash, agentCrash)
		p.failover, p.gap, p.length, p.minInSync, p.hiccups = unit.Auto, 20*time.Second, 200*time.Second, 0, 0
	default:
	}
	p.name = name
}
