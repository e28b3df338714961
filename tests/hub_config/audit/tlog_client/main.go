// Reads an exported log with the Go project's own client library: opens the checkpoint, fetches the tiles that prove
// each entry, and checks every entry against the signed root. Prints "sound N" or fails.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"client/note"
	"client/tlog"
)

type folder string

func (f folder) Height() int                                     { return 8 }
func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte)      {}
func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// C2SP leaves the height out of the path that Go's library writes: tile/8/0/000 is tile/0/000.
		data, err := os.ReadFile(filepath.Join(string(f), strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func must(err error) {
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
}

func main() {
	place := folder(os.Args[1])
	key, err := os.ReadFile(os.Args[2])
	must(err)
	verifier, err := note.NewVerifier(strings.TrimSpace(string(key)))
	must(err)
	text, err := os.ReadFile(filepath.Join(string(place), "checkpoint"))
	must(err)
	opened, err := note.Open(text, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	tree := tlog.Tree{N: size, Hash: root}
	reader := tlog.TileHashReader(tree, place)
	for first := int64(0); first < size; first += 256 {
		width := min(size-first, 256)
		tile := tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)}
		path := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data, err := os.ReadFile(filepath.Join(string(place), path))
		must(err)
		indexes := make([]int64, width)
		for i := range indexes {
			indexes[i] = tlog.StoredHashIndex(0, first+int64(i))
		}
		hashes, err := reader.ReadHashes(indexes)
		must(err)
		for i := range hashes {
			length := int(data[0])<<8 | int(data[1])
			if tlog.RecordHash(data[2:2+length]) != hashes[i] {
				must(fmt.Errorf("entry %d is not the one that was signed", first+int64(i)))
			}
			data = data[2+length:]
		}
		if len(data) != 0 {
			must(fmt.Errorf("%s holds more than its entries", path))
		}
	}
	fmt.Println("sound", size)
}
