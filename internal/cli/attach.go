package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"perdure/internal/client"
	"perdure/internal/errs"
	"perdure/internal/plan"
	"perdure/internal/run"
)

// attach hands in files for a task and gives their digests. All are looked at before the first one is sent.
func (s *session) attach(ctx context.Context, c *client.Client, id, step string, files []string) ([]string, error) {
	if len(files) > plan.MostAttachments {
		return nil, usagef("--attach stands %d times; at most %d files can be attached", len(files), plan.MostAttachments)
	}
	texts := make([][]byte, len(files))
	for i, path := range files {
		var err error
		if texts[i], err = attachable(path); err != nil {
			return nil, err
		}
	}
	var sums []string
	for i, path := range files {
		a, err := c.Attach(ctx, id, step, filepath.Base(path), texts[i])
		if err != nil {
			return nil, err
		}
		sums = append(sums, a.SHA256)
	}
	return sums, nil
}

// attachable reads a file that can be handed in.
func attachable(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errs.New(errs.NotFound, "cannot read what is attached: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, run.MostAttachment+1))
	if err != nil {
		return nil, errs.New(errs.Invalid, "cannot read what is attached: %w", err)
	}
	_, err = run.NewAttachment(filepath.Base(path), data)
	return data, err
}

func (s *session) attachmentCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "attachment RUN SHA256 --out FILE", Short: "Write a file that was handed in with a task, or made for participants; its digest is checked", Args: exactly("RUN", "SHA256"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return usagef("--out is missing: say which new file it is written to")
			}
			c, err := s.estate()
			if err != nil {
				return err
			}
			var data bytes.Buffer
			if _, err := c.Attachment(cmd.Context(), args[0], args[1], &data); err != nil {
				return err
			}
			if sum := sha256.Sum256(data.Bytes()); hex.EncodeToString(sum[:]) != args[1] {
				return errs.New(errs.Unavailable, "what came is not the file of SHA-256 %s: try again", args[1])
			}
			file, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return errs.New(errs.Invalid, "cannot write %s: %w", out, err)
			}
			_, err = file.Write(data.Bytes())
			if err = errors.Join(err, file.Close()); err != nil {
				return errs.New(errs.Invalid, "cannot write %s: %w", out, err)
			}
			if s.json {
				return s.emit(map[string]any{"file": out, "bytes": data.Len()})
			}
			fmt.Fprintln(s.Out, s.say(reportWritten, out, s.count(int64(data.Len()))))
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "new file to write it to")
	return c
}
