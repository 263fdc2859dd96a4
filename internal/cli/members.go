package cli

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"perdure/internal/errs"
	"perdure/internal/wire"
)

// membersCommand lists the members of the control store.
func (s *session) membersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "members", Short: "List the members of the control store, and what their programs read", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			e, err := c.Estate(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(struct {
					wire.StoreStatus
					Formats wire.Formats `json:"formats"`
				}{e.Store, e.Formats})
			}
			if !e.Store.Embedded {
				fmt.Fprintln(s.Out, s.say(membersOutside))
			}
			var g grid
			g.row(s.say(colMember), s.say(colPeer), s.say(colVote), s.say(colVersion), s.say(colFormats))
			if !e.Store.Embedded {
				for _, n := range e.Formats.Nodes {
					g.row(n.Node, "-", "-", n.Version, formatsText(n))
				}
			}
			for _, m := range sortedMembers(e.Store.Members) {
				vote := s.say(votes)
				if m.Learner {
					vote = s.say(votesNot)
				} else if m.Name == e.Store.Leader {
					vote += ", " + s.say(leaderWord)
				}
				program := nodeFormats(e.Formats, m.Name)
				g.row(orDash(m.Name), strings.Join(m.PeerURL, " "), vote, orDash(program.Version), formatsText(program))
			}
			g.write(s, s.Out, "")
			if text := s.formatsWait(e); text != "" {
				fmt.Fprintln(s.Out, s.paint(yellow, text))
			}
			s.warnEven(len(e.Store.Members))
			return nil
		},
	}
}

// nodeFormats gives what the program of a node reads, as far as it has said so.
func nodeFormats(f wire.Formats, name string) wire.NodeFormats {
	for _, n := range f.Nodes {
		if n.Node == name {
			return n
		}
	}
	return wire.NodeFormats{}
}

func formatsText(n wire.NodeFormats) string {
	switch {
	case n.Newest == 0:
		return "-"
	case n.Oldest == n.Newest:
		return fmt.Sprint(n.Newest)
	}
	return fmt.Sprintf("%d-%d", n.Oldest, n.Newest)
}

// formatsWait says which members keep journals in an older format than others read; "" where none does.
func (s *session) formatsWait(e wire.Estate) string {
	newest := e.Formats.Journal.Format
	names := []string{}
	for _, n := range e.Formats.Nodes {
		newest = max(newest, n.Newest)
		if !e.Store.Embedded {
			names = append(names, n.Node)
		}
	}
	for _, m := range e.Store.Members {
		names = append(names, m.Name)
	}
	if newest == e.Formats.Journal.Format {
		return ""
	}
	var waits []string
	for _, name := range names {
		if n := nodeFormats(e.Formats, name); n.Newest < newest {
			waits = append(waits, strings.TrimSpace(orDash(name)+" "+n.Version))
		}
	}
	slices.Sort(waits)
	return s.say(formatWaits, e.Formats.Journal.Format, newest, orDash(strings.Join(waits, ", ")))
}

func sortedMembers(members []wire.StoreMember) []wire.StoreMember {
	return slices.SortedFunc(slices.Values(members), func(a, b wire.StoreMember) int { return strings.Compare(a.Name, b.Name) })
}

// warnEven says what is left to do while the number of members is one that the store should not keep.
func (s *session) warnEven(n int) {
	if n > 0 && n%2 == 0 {
		fmt.Fprintln(s.Err, s.paint(yellow, s.say(evenMembers, n, n-1)))
	}
}

func (s *session) joinCommand() *cobra.Command {
	var peer string
	var yes bool
	c := &cobra.Command{
		Use: "join NAME --peer URL", Short: "Tell the control store of a new member, or of a lost one that joins anew", Args: exactly("NAME"),
		Long: `Tell the control store of a new member. What its node has to be started with is shown: an empty data directory,
store.join, and exactly these members. It does not vote before it has caught up, so the quorum is never at stake.
A lost member is taken out first (perdure node remove), unless a recovery has left it behind already.`,
		Example: "  perdure node join a --peer https://node.a.perdure.internal:7410",
		RunE: func(cmd *cobra.Command, args []string) error {
			if u, err := url.Parse(peer); err != nil || u.Scheme == "" || u.Port() == "" {
				return usagef("--peer has to be the member's peer URL as the others reach it, such as https://node.a.perdure.internal:7410")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			if err := s.confirm(yes, s.say(askJoin, args[0], peer), ""); err != nil {
				return err
			}
			members, err := c.GrowStore(cmd.Context(), args[0], peer)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(members)
			}
			fmt.Fprintln(s.Out, s.say(joinedLine, args[0]))
			fmt.Fprintln(s.Out, "store:\n  join: true\n  members:")
			for _, m := range sortedMembers(members) {
				fmt.Fprintf(s.Out, "    %s: %s\n", m.Name, strings.Join(m.PeerURL, ","))
			}
			s.warnEven(len(members))
			return nil
		},
	}
	c.Flags().StringVar(&peer, "peer", "", "URL by which the other members reach it")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (s *session) removeCommand() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "remove NAME|URL", Short: "Take a lost member out of the control store for good", Args: exactly("NAME"),
		Long: `Take a member out of the control store for good: one whose machine or disk is lost, before its successor joins.
A member that was never started has no name yet: name its peer URL. Where
too few of the others are alive for the store to go on without it, this is refused. A node that still runs stays up, decides nothing
and says so.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			e, err := c.Estate(cmd.Context())
			if err != nil {
				return err
			}
			var names []string
			var known bool
			for _, m := range sortedMembers(e.Store.Members) {
				if m.Name != "" {
					names = append(names, m.Name)
				}
				known = known || m.Name == args[0] || slices.Contains(m.PeerURL, args[0])
			}
			if e.Store.Embedded && !known {
				return errs.New(errs.NotFound, "the control store has no member %q; there are: %s", args[0], strings.Join(names, ", "))
			}
			if err := s.confirm(yes, s.say(askRemove, args[0]), args[0]); err != nil {
				return err
			}
			if err := c.ShrinkStore(cmd.Context(), args[0]); err != nil {
				return err
			}
			if s.json {
				return s.emit(map[string]string{"removed": args[0]})
			}
			fmt.Fprintln(s.Out, s.say(removedLine, args[0]))
			s.warnEven(len(e.Store.Members) - 1)
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (s *session) reclaimCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reclaim", Short: "Free the space that history takes in the answering node's store, and lift its NOSPACE alarm", Args: exactly(),
		Long: "Free the space that history takes in the answering node's store, and lift its NOSPACE alarm. Name each node in turn with --endpoint.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.estate()
			if err != nil {
				return err
			}
			status, err := c.Reclaim(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(status)
			}
			fmt.Fprintln(s.Out, s.say(reclaimedLine, s.count(status.Bytes), s.count(status.Quota)))
			return nil
		},
	}
}
