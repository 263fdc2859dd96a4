package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"perdure/internal/client"
	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/manifest"
	"perdure/internal/unit"
	"perdure/internal/wire"
)

func (s *session) statusCommand() *cobra.Command {
	var watch bool
	var every time.Duration
	c := &cobra.Command{
		Use: "status", Short: "The estate at a glance: sites, units and their owners, copies, gateways, running switches",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			if watch {
				return s.watchStatus(cmd.Context(), c, every)
			}
			return s.showStatus(cmd.Context(), c, s.Out)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on until Ctrl-C")
	c.Flags().DurationVar(&every, "every", time.Second, "with --watch: time between two looks")
	return c
}

func (s *session) watchStatus(ctx context.Context, c *client.Client, every time.Duration) error {
	if every < 100*time.Millisecond {
		return usagef("--every %s is too often: at least 100ms", every)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var b strings.Builder
		if err := s.showStatus(ctx, c, &b); err != nil {
			if ctx.Err() != nil || errs.KindOf(err) == errs.Unauthorised || errs.KindOf(err) == errs.Forbidden {
				return err
			}
			fmt.Fprintln(&b, s.paint(red, err.Error()))
		}
		if s.Tty && !s.json {
			fmt.Fprint(s.Out, "\x1b[H\x1b[2J")
		}
		fmt.Fprint(s.Out, b.String())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// calendarWithin bounds how long the status waits for what is overdue.
const calendarWithin = 2 * time.Second

// showStatus works without a quorum: it shows what the answering node has.
func (s *session) showStatus(ctx context.Context, c *client.Client, w io.Writer) error {
	e, err := c.Estate(ctx)
	if err != nil {
		return err
	}
	if s.json {
		enc := json.NewEncoder(w)
		if s.Tty {
			enc.SetIndent("", "  ")
		}
		return enc.Encode(e)
	}
	v := view{session: s, estate: e, agents: map[estate.MemberID]wire.AgentState{}, seen: map[estate.MemberID]int64{}}
	if m, err := c.Manifest(ctx, wire.Local); err == nil && m.Text != "" {
		if set, err := manifest.Parse(manifest.File{Name: "applied", Text: []byte(m.Text)}); err == nil {
			v.set = &set
		}
	}
	for _, m := range e.Members {
		var state wire.AgentState
		if json.Unmarshal(m.Status, &state) == nil {
			v.agents[m.Member], v.seen[m.Member] = state, m.At
		}
	}
	// What is overdue is left out where the calendars cannot be read now: the estate is shown without a quorum too.
	short, cancel := context.WithTimeout(ctx, calendarWithin)
	defer cancel()
	if c, err := c.Calendar(short, wire.Local); err == nil {
		v.overdue, v.waiting = overdue(c), c.Waiting()
	}
	if list, err := c.Armed(short); err == nil {
		v.unfit = unfit(list)
	}
	if d, err := c.Duty(short); err == nil {
		for _, f := range d.Findings {
			if f.Gap != nil {
				v.people = append(v.people, f.Duty+": "+s.say(dutyGap, placed(f.Gap.From), s.orNever(f.Gap.Until)))
			}
		}
	}
	v.people = append(v.people, s.unanswered(short, c)...)
	v.write(w)
	return nil
}

// view is the estate on its way to people's eyes.
type view struct {
	*session
	estate wire.Estate
	set    *manifest.Set // nil where it is not known
	agents map[estate.MemberID]wire.AgentState
	seen   map[estate.MemberID]int64 // when the agent said so, Unix milliseconds
	// overdue are schedules, waiting are windows that wait for approval; people is where nobody is on duty, and of whom runs wait.
	overdue, waiting, people []string
	// unfit are armed runs that could not begin as they have to.
	unfit []string
}

func (v *view) write(w io.Writer) {
	e := v.estate
	fmt.Fprintf(w, "%s  %s\n", v.paint(bold, v.say(estateTitle)), v.say(estateLine, incarnation(e.Incarnation.Incarnation), e.Node, at(e.Now)))
	if e.Manifest.Revision > 0 {
		fmt.Fprintf(w, "  %s\n", v.say(manifestLine, e.Manifest.Revision, e.Manifest.By, at(e.Manifest.At)))
	} else {
		fmt.Fprintf(w, "  %s\n", v.say(noManifest))
	}
	if e.Formats.Journal.Format > 0 { // a node of a version before knows of none
		fmt.Fprintf(w, "  %s\n", v.say(formatLine, e.Version, e.Formats.Journal.Format))
		if text := v.formatsWait(e); text != "" {
			fmt.Fprintf(w, "  %s\n", v.paint(yellow, text))
		}
	}
	for _, warning := range v.warnings() {
		fmt.Fprintf(w, "  %s\n", v.paint(red, warning))
	}
	if len(v.overdue) > 0 {
		fmt.Fprintf(w, "  %s\n", v.paint(red, v.say(overdueStatus, strings.Join(v.overdue, ", "))))
	}
	if len(v.waiting) > 0 {
		fmt.Fprintf(w, "  %s\n", v.paint(yellow, v.say(waitingStatus, strings.Join(v.waiting, ", "))))
	}
	if len(v.unfit) > 0 {
		fmt.Fprintf(w, "  %s\n", v.paint(red, v.say(armedStatus, strings.Join(v.unfit, ", "))))
	}
	for _, line := range v.people {
		fmt.Fprintf(w, "  %s\n", v.paint(yellow, line))
	}
	fmt.Fprintf(w, "\n%s\n", v.paint(bold, v.say(sitesTitle)))
	v.sites(w)
	if len(e.Groups) == 0 {
		fmt.Fprintf(w, "\n%s\n", v.say(noUnits))
		return
	}
	fmt.Fprintf(w, "\n%s\n", v.paint(bold, v.say(unitsTitle)))
	v.units(w)
	v.shout(w)
	v.switches(w)
}

func incarnation(i estate.Incarnation) string {
	id := i.ID
	if len(id) > 8 {
		id = id[:8]
	}
	return fmt.Sprintf("%d.%s", i.Counter, id)
}

// warnings are what is wrong with the control plane itself.
func (v *view) warnings() []string {
	var out []string
	st := v.estate.Store
	if !st.Quorum {
		out = append(out, v.say(noQuorum))
	}
	if v.estate.Standing.Cold {
		out = append(out, v.say(nodeCold, strings.Join(v.estate.Standing.Missing, ", ")))
	}
	if i := v.estate.Standing.Superseded; i != nil {
		out = append(out, v.say(nodeSuperseded, incarnation(*i)))
	}
	if v.estate.Standing.Removed {
		out = append(out, v.say(nodeRemoved))
	}
	if len(st.Alarms) > 0 {
		out = append(out, v.say(storeAlarms, strings.Join(st.Alarms, ", ")))
	}
	if st.Stopped != "" {
		out = append(out, v.say(storeStopped, st.Stopped))
	}
	return out
}

// sites lists each site with its node and gateway.
func (v *view) sites(w io.Writer) {
	g := &grid{}
	g.row(v.say(colSite), v.say(colCity), v.say(colNode), v.say(colGateway))
	for _, site := range v.siteIDs() {
		var city string
		if v.set != nil {
			if s := v.set.Site(site); s != nil {
				city = s.City
				if s.Witness {
					city += " (" + v.say(witnessWord) + ")"
				}
			}
		}
		node, nodeColour := v.nodeCell(site)
		gateway, gatewayColour := v.gatewayCell(site)
		g.cells(cell{text: string(site)}, cell{text: dash(city)}, cell{node, nodeColour}, cell{gateway, gatewayColour})
	}
	g.write(v.session, w, "  ")
}

func (v *view) siteIDs() []estate.SiteID {
	var ids []estate.SiteID
	if v.set != nil {
		for _, s := range v.set.Sites {
			ids = append(ids, s.Name)
		}
	}
	for _, g := range v.estate.Groups {
		for _, m := range g.Record.Members {
			ids = append(ids, m.Site)
		}
	}
	for _, n := range v.estate.Nodes {
		if v.set == nil {
			ids = append(ids, estate.SiteID(n.Node))
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

func (v *view) nodeCell(site estate.SiteID) (string, colour) {
	names := []string{string(site)}
	if v.set != nil {
		if s := v.set.Site(site); s != nil {
			names = nil
			for _, n := range s.Nodes {
				names = append(names, n.Name)
			}
		}
	}
	var texts []string
	worst := plain
	for _, name := range names {
		i := slices.IndexFunc(v.estate.Nodes, func(n wire.NodeView) bool { return strings.TrimPrefix(n.Node, "node:") == name })
		text := name
		switch {
		case name == v.estate.Node:
			text += " " + v.say(answersHere)
		case i < 0:
			continue
		case v.estate.Nodes[i].HeardMillis < 0:
			text += " " + v.say(neverHeard)
			worst = red
		default:
			text += " " + v.say(heardAgo, millis(v.estate.Nodes[i].HeardMillis))
			if v.estate.Nodes[i].HeardMillis > 5000 {
				worst = red
			}
		}
		if v.estate.Store.Leader != "" && v.estate.Store.Leader == name {
			text += ", " + v.say(leaderWord)
		}
		texts = append(texts, text)
	}
	return dash(strings.Join(texts, "; ")), worst
}

func (v *view) gatewayCell(site estate.SiteID) (string, colour) {
	var texts []string
	worst := plain
	for _, a := range v.estate.Gateways {
		if a.Site != site {
			continue
		}
		text := strings.TrimPrefix(a.Gateway, "gateway:") + " " + v.say(tableWord, a.Version)
		if age := v.estate.Now - a.At; age > 10_000 {
			text += ", " + v.say(silentFor, millis(age))
			worst = yellow
		}
		texts = append(texts, text)
	}
	return dash(strings.Join(texts, "; ")), worst
}

// units lists each unit with its owner and copies. Units of one group stand together: they change hands together.
func (v *view) units(w io.Writer) {
	g := &grid{}
	g.row(v.say(colUnit), v.say(colSystem), v.say(colState), v.say(colOwner), v.say(colEpoch), v.say(colInSync), v.say(colCopies))
	groups := slices.Clone(v.estate.Groups)
	slices.SortFunc(groups, func(a, b wire.Group) int { return cmp.Compare(a.Record.Group, b.Record.Group) })
	for _, group := range groups {
		r := &group.Record
		for _, u := range r.Units {
			state, stateColour := v.stateCell(r)
			inSync, syncColour := v.inSyncCell(r)
			g.cells(cell{text: string(u)}, cell{text: string(r.System)}, cell{state, stateColour}, cell{text: v.ownerText(r)},
				cell{text: fmt.Sprintf("%d.%d", r.Ownership.Incarnation.Counter, r.Ownership.Epoch)}, cell{inSync, syncColour}, cell{text: v.copiesText(r)})
		}
	}
	g.write(v.session, w, "  ")
}

func (v *view) stateCell(r *unit.Record) (string, colour) {
	switch {
	case r.State == unit.Open && r.Switch.Active():
		return v.word(string(r.State)) + ", " + v.word(string(r.Switch.Phase)), yellow
	case r.State == unit.Open:
		return v.word(string(r.State)), green
	case r.Switch.Active():
		return v.word(string(r.State)) + ", " + v.word(string(r.Switch.Phase)), yellow
	}
	return v.word(string(r.State)), red
}

func (v *view) ownerText(r *unit.Record) string {
	if r.Owner.Member == "" {
		return "-"
	}
	return fmt.Sprintf("%s @%s", r.Owner.Member, r.OwnerSite())
}

func (v *view) inSyncCell(r *unit.Record) (string, colour) {
	if len(r.InSync) == 0 {
		return v.say(unprotectedWord), red
	}
	var texts []string
	for _, l := range r.InSync {
		m, _ := r.Member(l.Member)
		text := fmt.Sprintf("%s @%s", l.Member, m.Site)
		if m.Role == unit.PinnedRole {
			text += " " + v.word(string(m.Role))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", "), plain
}

// copiesText lists the members that are neither owner nor in the in-sync set.
func (v *view) copiesText(r *unit.Record) string {
	var texts []string
	for _, m := range r.Members {
		if m.ID == r.Owner.Member || slices.ContainsFunc(r.InSync, func(l estate.Life) bool { return l.Member == m.ID }) {
			continue
		}
		text := fmt.Sprintf("%s @%s %s", m.ID, m.Site, v.word(string(m.Role)))
		a, known := v.agents[m.ID]
		switch {
		case m.Ahead:
			text += " " + v.say(aheadWord)
		case !known:
			text += " " + v.say(neverHeard)
		case v.estate.Now-v.seen[m.ID] > 15_000:
			text += " " + v.say(silentFor, millis(v.estate.Now-v.seen[m.ID]))
		case a.Streaming:
			text += " " + v.say(followsWord)
		case a.Doing != "":
			text += " " + a.Doing
			if a.Total > 0 {
				text += fmt.Sprintf(" %d%%", 100*a.Done/a.Total)
			}
		}
		texts = append(texts, text)
	}
	return dash(strings.Join(texts, ", "))
}

// shout names what must not be overlooked: what is wrong with an installation (I17), units in quarantine (I7), and units that go on with
// an empty in-sync set and lose what they acknowledge if their site is lost (I2).
func (v *view) shout(w io.Writer) {
	for _, m := range slices.Sorted(maps.Keys(v.agents)) {
		v.findings(w, m, v.agents[m].Findings)
	}
	for _, g := range v.estate.Groups {
		r := &g.Record
		if r.Quarantine {
			fmt.Fprintf(w, "  %s\n", v.paint(red, v.say(quarantineLine, joinUnits(r.Units))))
		}
		if r.State != unit.Open || len(r.InSync) > 0 {
			continue
		}
		a := v.agents[r.Owner.Member]
		age, exposed := v.say(unknownFigure), v.say(unknownFigure)
		if a.UnprotectedSince > 0 {
			age, exposed = millis(max(v.estate.Now-a.UnprotectedSince, 0)), v.count(a.Exposed)
		}
		fmt.Fprintf(w, "  %s\n", v.paint(red, v.say(unprotectedLine, joinUnits(r.Units), age, exposed)))
	}
}

// findings names each fatal finding and counts the others.
func (v *view) findings(w io.Writer, m estate.MemberID, findings []driver.Finding) {
	var lesser []string
	for _, f := range findings {
		if f.Fatal {
			fmt.Fprintf(w, "  %s\n", v.paint(red, fmt.Sprintf("%s %s %s: %s; %s", v.say(fatalWord), m, f.Check, f.Problem, f.Fix)))
		} else if !slices.Contains(lesser, f.Check) {
			lesser = append(lesser, f.Check)
		}
	}
	if len(lesser) > 0 {
		fmt.Fprintf(w, "  %s\n", v.paint(yellow, v.say(findingsLine, m, len(lesser), strings.Join(lesser, ", "))))
	}
}

func joinUnits(units []estate.UnitID) string {
	texts := make([]string, len(units))
	for i, u := range units {
		texts[i] = string(u)
	}
	return strings.Join(texts, ", ")
}

// switches lists what is running, and what was last done where nothing is.
func (v *view) switches(w io.Writer) {
	g := &grid{}
	for _, group := range v.estate.Groups {
		r := &group.Record
		s := r.Switch
		if s == nil {
			continue
		}
		c := plain
		when := at(lastTime(s))
		if s.Active() {
			c, when = yellow, v.say(sinceWord, millis(max(v.estate.Now-firstTime(s), 0)))
		} else if s.Phase == unit.Failed {
			c = red
		}
		g.cells(cell{text: joinUnits(r.Units)}, cell{text: v.word(string(s.Mode))}, cell{text: switchPath(r, s)}, cell{v.word(string(s.Phase)), c},
			cell{text: v.say(byWord, s.By)}, cell{text: when})
	}
	if len(g.rows) > 0 {
		fmt.Fprintf(w, "\n%s\n", v.paint(bold, v.say(switchesTitle)))
		g.write(v.session, w, "  ")
	}
	for _, group := range v.estate.Groups {
		if s := group.Record.Switch; s != nil && s.Phase == unit.Accepting && s.Loss != nil {
			v.showLoss(w, s.Loss) // two people decide on it
		}
	}
}

func switchPath(r *unit.Record, s *unit.Switch) string {
	from, _ := r.Member(s.From.Member)
	to, _ := r.Member(s.To.Member)
	return fmt.Sprintf("%s → %s", dash(string(from.Site)), dash(string(to.Site)))
}

func firstTime(s *unit.Switch) int64 {
	var first int64
	for _, t := range s.At {
		if first == 0 || t < first {
			first = t
		}
	}
	return first
}

func lastTime(s *unit.Switch) int64 {
	var last int64
	for _, t := range s.At {
		last = max(last, t)
	}
	return last
}
