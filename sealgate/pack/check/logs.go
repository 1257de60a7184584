// Checks one log of this pack with the packages of Go's checksum database, golang.org/x/mod/sumdb:
//
//	logs VERIFIER-KEY-FILE LOG [REGISTRY-LOG [OLD-LOG]]
//
// LOG is a folder, or the URL where its files are served (c2sp.org/tlog-tiles). Checked are the
// signature of the checkpoint, every tile and every entry against its root, proofs that single
// entries are in it, and, with the folder or URL of the registry's log, that the log extends each
// checkpoint of itself that is anchored there; with that of an older copy of the log, that it extends
// the checkpoint in it.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const width = 256

// place is where a log's files are: a folder or a URL.
type place string

func (p place) read(path string) ([]byte, error) {
	if !strings.HasPrefix(string(p), "http://") && !strings.HasPrefix(string(p), "https://") {
		return os.ReadFile(filepath.Join(string(p), path))
	}
	response, err := http.Get(strings.TrimSuffix(string(p), "/") + "/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}

func (place) Height() int { return 8 }

func (p place) ReadTiles(tiles []tlog.Tile) (data [][]byte, err error) {
	for _, tile := range tiles {
		// The checksum database puts the height into the path, C2SP leaves it out.
		content, err := p.read(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		data = append(data, content)
	}
	return data, nil
}

func (place) SaveTiles([]tlog.Tile, [][]byte) {}

// entries reads the entries from 256 times index on, each after its length in two bytes.
func (p place) entries(index, size int64) (list [][]byte, err error) {
	tile := tlog.Tile{H: 8, L: 0, N: index, W: int(min(width, size-width*index))}
	data, err := p.read(strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1))
	for err == nil && len(data) >= 2 {
		end := 2 + int(binary.BigEndian.Uint16(data))
		if end > len(data) {
			break
		}
		list, data = append(list, data[2:end]), data[end:]
	}
	if err == nil && (len(data) != 0 || len(list) != tile.W) {
		err = fmt.Errorf("the entries from %d on are cut or surplus", width*index)
	}
	return list, err
}

func openCheckpoint(text []byte, verifier note.Verifier) (tree tlog.Tree, err error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tree, fmt.Errorf("not a checkpoint of %s", verifier.Name())
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

// checkEntries compares each entry with its hash in the tiles, which are compared with the root.
func checkEntries(log place, tree tlog.Tree, hashes tlog.HashReader) error {
	for index := int64(0); width*index < tree.N; index++ {
		list, err := log.entries(index, tree.N)
		if err != nil {
			return err
		}
		var places []int64
		for at := range list {
			places = append(places, tlog.StoredHashIndex(0, width*index+int64(at)))
		}
		found, err := hashes.ReadHashes(places)
		if err != nil {
			return err
		}
		for at, entry := range list {
			if tlog.RecordHash(entry) != found[at] {
				return fmt.Errorf("entry %d is not what was hashed", width*index+int64(at))
			}
		}
		// The first entry of each tile is proved to be in the tree, from the tiles alone.
		proof, err := tlog.ProveRecord(tree.N, width*index, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, width*index, found[0]); err != nil {
			return err
		}
	}
	return nil
}

// checkExtends proves that the tree only adds to an older one.
func checkExtends(tree, old tlog.Tree, hashes tlog.HashReader) error {
	if old.N > tree.N {
		return fmt.Errorf("%d entries were seen before, here are %d", old.N, tree.N)
	}
	if old.N == 0 {
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("does not extend the checkpoint of %d: %v", old.N, err)
	}
	return nil
}

// checkAnchors proves that the log extends each checkpoint of it that the registry's log holds.
func checkAnchors(registry place, log string, verifier note.Verifier, tree tlog.Tree, hashes tlog.HashReader) (count int, err error) {
	text, err := registry.read("checkpoint")
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(strings.Split(string(text)+"\n\n", "\n")[1], 10, 64)
	if err != nil {
		return 0, err
	}
	for index := int64(0); width*index < size; index++ {
		list, err := registry.entries(index, size)
		if err != nil {
			return count, err
		}
		for _, data := range list {
			var entry struct {
				Event, Subject string
				Body           struct{ Checkpoint string }
			}
			if json.Unmarshal(data, &entry) != nil || entry.Event != "answers.anchored" || entry.Subject != "logs/"+log {
				continue
			}
			old, err := openCheckpoint([]byte(entry.Body.Checkpoint), verifier)
			if err != nil {
				return count, err
			}
			count++
			if err := checkExtends(tree, old, hashes); err != nil {
				return count, err
			}
		}
	}
	return count, nil
}

func check(arguments []string) error {
	if len(arguments) < 2 {
		return fmt.Errorf("usage: logs VERIFIER-KEY-FILE LOG [REGISTRY-LOG [OLD-LOG]]")
	}
	key, err := os.ReadFile(arguments[0])
	if err != nil {
		return err
	}
	verifier, err := note.NewVerifier(strings.Split(string(key), "\n")[0])
	if err != nil {
		return err
	}
	log := place(arguments[1])
	text, err := log.read("checkpoint")
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(text, verifier)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, log)
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil || root != tree.Hash {
		return fmt.Errorf("the tiles lead to another root: %v", err)
	}
	if err := checkEntries(log, tree, hashes); err != nil {
		return err
	}
	anchors := 0
	if len(arguments) > 2 {
		if anchors, err = checkAnchors(place(arguments[2]), verifier.Name(), verifier, tree, hashes); err != nil {
			return err
		}
	}
	if len(arguments) > 3 {
		text, err := place(arguments[3]).read("checkpoint")
		if err != nil {
			return err
		}
		old, err := openCheckpoint(text, verifier)
		if err != nil {
			return err
		}
		if err := checkExtends(tree, old, hashes); err != nil {
			return err
		}
	}
	fmt.Printf("%s: %d entries under the signed root, %d anchors extended\n", verifier.Name(), tree.N, anchors)
	return nil
}

func main() {
	if err := check(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
