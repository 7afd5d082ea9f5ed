// Token trees: spans, who sees whom, and the threads that work on them.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernel.h"
#include "panel.h"
#include "softmax.h"

namespace moreline {

// Heads of queries and of keys, their size, and the dimensions that rotate.
struct Heads {
  std::int64_t queries, keys, size, rotated;
  std::int64_t width() const { return (queries + 2 * keys) * size; }
  std::int64_t group() const { return queries / keys; }
};

// A span of tokens, and where its blocks of keys lie within its tree.
struct Span {
  std::int64_t start, len, parent, first_block;
  std::int64_t blocks() const { return (len + kKeys - 1) / kKeys; }
};

struct Tree {
  std::vector<Span> spans;  // parents, as places in this list, before children
  std::int64_t blocks = 0;

  void add(std::int64_t start, std::int64_t len, std::int64_t parent) {
    spans.push_back({start, len, parent, blocks});
    blocks += spans.back().blocks();
  }

  // A span's ancestors, root first, and itself.
  std::vector<const Span*> path(const Span& span) const {
    std::vector<const Span*> chain{&span};
    while (chain.back()->parent >= 0) chain.push_back(&spans[chain.back()->parent]);
    std::reverse(chain.begin(), chain.end());
    return chain;
  }
};

// Trees from rows (start, length, parent or -1).
inline std::vector<Tree> trees_of(const at::Tensor& spans) {
  const auto* row = data<std::int64_t>(spans);
  std::vector<Tree> trees;
  std::vector<std::pair<std::size_t, std::int64_t>> place;  // tree, and span in it
  for (std::int64_t i = 0; i < spans.size(0); ++i, row += 3) {
    if (row[2] < 0) trees.emplace_back();
    std::size_t tree = row[2] < 0 ? trees.size() - 1 : place[row[2]].first;
    std::int64_t parent = row[2] < 0 ? -1 : place[row[2]].second;
    place.emplace_back(tree, static_cast<std::int64_t>(trees[tree].spans.size()));
    trees[tree].add(row[0], row[1], parent);
  }
  return trees;
}

// Calls `body(tree, key head, scratch)` for every pair, whichever thread is free.
template <typename Scratch, typename Body>
void for_each(const std::vector<Tree>& trees, const Heads& heads, Body body) {
  std::int64_t units = static_cast<std::int64_t>(trees.size()) * heads.keys;
  std::atomic<std::int64_t> next{0};
  at::parallel_for(0, std::min<std::int64_t>(at::get_num_threads(), units), 1,
                   [&](std::int64_t, std::int64_t) {
    Scratch scratch;
    for (std::int64_t unit = next++; unit < units; unit = next++)
      body(trees[unit / heads.keys], unit % heads.keys, scratch);
    at::native::cpublas::brgemm_release();
  });
}

// Rotates the first `rotated` dimensions of every query and key head.
template <typename S>
void turn(const at::Tensor& from, const at::Tensor& to, const at::Tensor& cos,
          const at::Tensor& sin, const Heads& heads) {
  std::int64_t width = heads.width(), half = heads.rotated / 2;
  at::parallel_for(0, from.size(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(width);
    for (std::int64_t t = begin; t < end; ++t) {
      Row<S>::load(data<S>(from) + t * width, row.data(), width);
      for (std::int64_t h = 0; h < heads.queries + heads.keys; ++h)
        rotate(row.data() + h * heads.size, data<float>(cos) + t * half,
               data<float>(sin) + t * half, half, 1.0f);
      Row<S>::store(row.data(), data<S>(to) + t * width, width);
    }
  });
}

// What forward and backward read: the turned projection [T, width].
template <typename S>
struct Projection {
  const S* rows;
  Heads heads;

  const S* query(std::int64_t token, std::int64_t head) const {
    return rows + token * heads.width() + head * heads.size;
  }
  const S* key(std::int64_t token, std::int64_t head) const {
    return query(token, heads.queries + head);
  }
  const S* value(std::int64_t token, std::int64_t head) const {
    return query(token, heads.queries + heads.keys + head);
  }
};

// A block of keys as a block of queries sees it: the keys that query i of the
// block sees are the first `seen(i)`.
struct Sight {
  std::int64_t block;   // in the tree
  std::int64_t keys;    // that are not padding
  std::int64_t before;  // of the span itself: keys before it less queries before; else large

  std::int64_t seen(std::int64_t i) const {
    return std::clamp<std::int64_t>(i - before + 1, 0, keys);
  }

  // The first query that sees key j.
  std::int64_t first_seeing(std::int64_t j) const {
    return j < keys ? std::clamp<std::int64_t>(j + before, 0, kQueries) : kQueries;
  }

  // Whether every query sees every key.
  bool whole() const { return seen(0) == kKeys; }
};

// The blocks of keys that the queries from `first` on of the path's last span see.
inline std::vector<Sight> sights(const std::vector<const Span*>& path, std::int64_t first) {
  std::vector<Sight> found;
  for (const Span* span : path) {
    bool own = span == path.back();
    for (std::int64_t b = 0; b < span->blocks(); ++b) {
      std::int64_t from = b * kKeys;
      if (own && from >= first + kQueries) break;
      std::int64_t before = own ? from - first : std::numeric_limits<std::int32_t>::min();
      found.push_back({span->first_block + b, std::min(kKeys, span->len - from), before});
    }
  }
  return found;
}

// Calls `body(span, path, first query, queries)` for every block of queries.
template <typename Body>
void for_each_block(const Tree& tree, Body body) {
  for (const Span& span : tree.spans) {
    auto path = tree.path(span);
    for (std::int64_t first = 0; first < span.len; first += kQueries)
      body(span, sights(path, first), first, std::min(kQueries, span.len - first));
  }
}

}  // namespace moreline
