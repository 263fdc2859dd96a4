package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"perdure/internal/app"
)

func (s *session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Version of this binary", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": app.Version, "revision": "unknown", "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, setting := range info.Settings {
					switch setting.Key {
					case "vcs.revision":
						v["revision"] = setting.Value
					case "vcs.modified":
						v["modified"] = setting.Value
					}
				}
			}
			if s.json {
				return s.emit(v)
			}
			fmt.Fprintf(s.Out, "perdure %s (%s, %s, %s)\n", v["version"], v["revision"], v["go"], v["platform"])
			return nil
		},
	}
}
