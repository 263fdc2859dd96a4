package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/wire"
)

func (s *session) divergenceCommand() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "divergence UNIT", Short: "What former owners of a unit had committed and their successors had not, listed before it was rewound",
		Long: `What former owners of the unit's group had committed and their successors had not, listed before it was rewound. None of it was
acknowledged unless people accepted a loss. "settled": the client sent it again and the successor carried it out under the same key;
otherwise its effect exists nowhere.`,
		Args: exactly("UNIT"), ValidArgsFunction: s.completeUnits,
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return usagef("--limit %d is out of range; allowed: 1 or more", limit)
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			group, err := groupOf(cmd.Context(), c, estate.UnitID(args[0]), wire.Local)
			if err != nil {
				return err
			}
			reports, err := c.Divergences(cmd.Context(), group.Record.Group, wire.Local)
			if err != nil {
				return err
			}
			if s.json {
				return s.emit(append([]wire.Divergence{}, reports...))
			}
			if len(reports) == 0 {
				fmt.Fprintln(s.Out, s.say(nothingDiverged, args[0]))
			}
			for _, r := range reports {
				if err := s.showDivergence(r, limit); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().IntVar(&limit, "limit", 50, "how many transactions of each report are shown; --json has them all")
	return c
}

func (s *session) showDivergence(r wire.Divergence, limit int) error {
	var d driver.Diverged
	if err := json.Unmarshal(r.Report, &d); err != nil {
		return errs.New(errs.Internal, "cannot read report %s of %s: %w", r.ID, r.Reporter, err)
	}
	settled := 0
	for _, t := range d.Transactions {
		if t.Settled {
			settled++
		}
	}
	fmt.Fprintln(s.Out, s.say(divergedLine, r.Reporter, at(r.At), d.From, d.Until, s.count(int64(len(d.Transactions))), s.count(int64(settled)), s.count(int64(d.Unkeyed))))
	g := &grid{}
	for i, t := range d.Transactions {
		if i == limit {
			g.row("…")
			break
		}
		state, c := s.say(nowhereWord), yellow
		if t.Settled {
			state, c = s.say(settledWord), plain
		}
		g.cells(cell{text: at(t.At.UnixMilli())}, cell{text: string(t.Unit)}, cell{text: t.Key}, cell{text: t.RoutingKey}, cell{text: dash(t.Amount)},
			cell{text: dash(strings.Join(t.Accounts, " → "))}, cell{state, c})
	}
	g.write(s, s.Out, "  ")
	return nil
}
