package lab

// FaultWord is something that can be broken, as a statement of the story language.
type FaultWord struct {
	Statement string `json:"statement"`
	Meaning   string `json:"meaning"`
}

// FaultWords says what can be broken, for people.
func FaultWords() []FaultWord {
	return []FaultWord{
		{"fault cut a [both|in|out]", "a site is cut off from all others, both ways or one"},
		{"fault cut a-b", "one link, both ways; a>b one way; … ports postgres|gateway|node|agent|app; … 5s"},
		{"fault freeze link a-b ports postgres 300ms", "nothing flows for the time, then everything does"},
		{"fault loss a-c 1% [stall 400ms]", "a share of what is sent comes late"},
		{"fault kill site a[,b]", "kill -9 of everything at a site; start site a"},
		{"fault kill process gateway-a", "it stays down until: start process gateway-a; leader is the store's leader"},
		{"fault kill database u2", "the owner's server of a unit; a member (u2-b); copy of u2"},
		{"fault crash process node-a", "kill -9, restarted by its supervisor"},
		{"fault freeze site a", "SIGSTOP until heal, or for a time: 2s; process node-a and database u1 likewise"},
		{"fault crash backend of u1", "kill -9 of one session of an application"},
		{"fault crash PART of u1", "one process alone: agent, postmaster, checkpointer, walwriter, walsender, walreceiver, startup"},
		{"fault terminate backends of u1", "sessions of applications are ended; cancel: what they wait for is cancelled"},
		{"fault freeze checkpointer of u1 [2s]", "one process of a server stands still; startup, agent likewise"},
		{"fault promote database u1-b", "by hand, past the product; restart likewise"},
		{"fault clone database u1-b", "a copy's directory is copied and runs beside the owner, under the copy's name and without its slot"},
		{"fault fill disk u1-a", "needs: disk u1-a 512MiB, before the start, and root; leader is the disk of the store's leader"},
		{"fault stall disk u1-a [5s]", "whoever writes waits; needs: disk u1-a 1GiB stallable, before the start, and root"},
		{"fault deadlock accounts of u1 [5s]", "the hot accounts are locked in the wrong order, over and over"},
		{"fault starve 4", "busy loops beside everything"},
		{"heal", "ends all faults; heal a, heal a-b, heal site a, heal process P, heal database u1, heal disk D, heal starve"},
	}
}
