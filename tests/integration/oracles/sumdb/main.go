// Checks a log with the packages behind Go's checksum database, golang.org/x/mod/sumdb/note and
// tlog. It reads what a log published, as JSON, and says what does not hold.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index, Size int64
	Proof       [][]byte
}

type consistency struct {
	Old, New int64
	Proof    [][]byte
}

type published struct {
	VerifierKey string
	Origin      string
	Entries     [][]byte
	// Signed notes, one for each size of the log that is asked about.
	Checkpoints []string
	Inclusion   []inclusion
	Consistency []consistency
	// Contents by path (C2SP tlog-tiles).
	Tiles map[string][]byte
}

// reader takes tiles of any size of the log from what was published.
type reader struct{ tiles map[string][]byte }

func (reader) Height() int { return 8 }

func (r reader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		// The checksum database puts the height into the path, C2SP leaves it out.
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		content, ok := r.tiles[path]
		if !ok {
			return nil, fmt.Errorf("no tile at %s", path)
		}
		data = append(data, content)
	}
	return data, nil
}

func (reader) SaveTiles([]tlog.Tile, [][]byte) {}

func hashes(list [][]byte) []tlog.Hash {
	out := make([]tlog.Hash, len(list))
	for i, item := range list {
		copy(out[i][:], item)
	}
	return out
}

// openCheckpoint verifies a signed note and reads the checkpoint in it.
func openCheckpoint(text string, origin string, verifiers note.Verifiers) (tree tlog.Tree, err error) {
	opened, err := note.Open([]byte(text), verifiers)
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != origin {
		return tree, fmt.Errorf("not a checkpoint of %s", origin)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, fmt.Errorf("not a root hash: %s", lines[2])
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

func check(log published) error {
	verifier, err := note.NewVerifier(log.VerifierKey)
	if err != nil {
		return err
	}
	roots := map[int64]tlog.Hash{}
	for _, text := range log.Checkpoints {
		tree, err := openCheckpoint(text, log.Origin, note.VerifierList(verifier))
		if err != nil {
			return err
		}
		roots[tree.N] = tree.Hash
		// Reads the whole right edge from tiles and compares it with the root.
		top := tlog.TileHashReader(tree, reader{log.Tiles})
		root, err := tlog.TreeHash(tree.N, top)
		if err != nil || root != tree.Hash {
			return fmt.Errorf("tiles of size %d: %v", tree.N, err)
		}
		for _, index := range []int64{0, tree.N / 3, tree.N - 1} {
			proof, err := tlog.ProveRecord(tree.N, index, top)
			if err != nil {
				return err
			}
			leaf := tlog.RecordHash(log.Entries[index])
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
				return err
			}
		}
	}
	for _, p := range log.Inclusion {
		leaf := tlog.RecordHash(log.Entries[p.Index])
		if err := tlog.CheckRecord(hashes(p.Proof), p.Size, roots[p.Size], p.Index, leaf); err != nil {
			return fmt.Errorf("inclusion of %d in %d: %v", p.Index, p.Size, err)
		}
	}
	for _, p := range log.Consistency {
		if err := tlog.CheckTree(hashes(p.Proof), p.New, roots[p.New], p.Old, roots[p.Old]); err != nil {
			return fmt.Errorf("consistency of %d with %d: %v", p.New, p.Old, err)
		}
	}
	return nil
}

func main() {
	var log published
	if err := json.NewDecoder(os.Stdin).Decode(&log); err != nil {
		fmt.Println("input:", err)
		os.Exit(2)
	}
	if err := check(log); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("all holds")
}
