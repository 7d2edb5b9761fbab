// SPDX-License-Identifier: Apache-2.0
// A machine for Python's pickle format that builds plain data and executes nothing.
//
// It knows the instructions of protocols 2 to 5 that checkpoints use. What a name, a call or a
// persistent id means is the business of a PickleHost (torch_pickle.cc), which refuses everything
// that it does not know; no Python object is ever made. Values are numbered nodes in flat tables,
// so nesting costs no recursion, and a cyclic or shared structure no extra memory.
//
// The pickled bytes must outlive the graph: texts are views into them. Not thread safe.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace nextscale {

enum class PickleKind : uint8_t {
  kOther,  // a value that nobody will ask for: float, bytes, set …
  kNone,
  kBool,
  kInt,
  kText,
  kTuple,
  kList,
  kDict,    // children: key, value, key, value …
  kGlobal,  // number: chosen by the host
  kObject,  // made by the host; number: chosen by the host
};

using PickleId = uint32_t;

// The values of one pickle.
class PickleGraph {
 public:
  PickleKind kind(PickleId id) const { return nodes_[id].kind; }
  // Of a bool, int, global or object.
  int64_t number(PickleId id) const { return nodes_[id].payload; }
  std::string_view text(PickleId id) const { return texts_[index(id)]; }
  // Of a tuple, list or dict.
  const std::vector<PickleId>& children(PickleId id) const { return children_[index(id)]; }
  std::vector<PickleId>& children(PickleId id) { return children_[index(id)]; }

  PickleId add(PickleKind kind, int64_t number = 0);
  PickleId add_text(std::string_view text);
  PickleId add_container(PickleKind kind, std::vector<PickleId> children);
  size_t num_nodes() const { return nodes_.size(); }

 private:
  struct Node {
    PickleKind kind;
    int64_t payload;  // a number, or an index into texts_ or children_
  };
  size_t index(PickleId id) const { return static_cast<size_t>(nodes_[id].payload); }

  std::vector<Node> nodes_;
  std::vector<std::string_view> texts_;
  std::vector<std::vector<PickleId>> children_;
};

// Gives meaning to what a pickle refers to. Every function throws Error for what it refuses.
class PickleHost {
 public:
  virtual ~PickleHost() = default;
  // The node for the name "module.name".
  virtual PickleId global(PickleGraph& graph, std::string_view module, std::string_view name) = 0;
  // The node that a call of `callable` stands for; `arguments` is a tuple.
  virtual PickleId call(PickleGraph& graph, PickleId callable, PickleId arguments) = 0;
  virtual PickleId persistent(PickleGraph& graph, PickleId id) = 0;
};

// Runs a pickle and returns its value. Throws Error(kBadFile) naming `where`, and what the host
// throws.
PickleId run_pickle(std::span<const std::byte> bytes, std::string_view where, PickleHost& host,
                    PickleGraph& graph);

}  // namespace nextscale
