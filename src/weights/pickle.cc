// SPDX-License-Identifier: Apache-2.0
#include "weights/pickle.h"

#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/error_format.h"

namespace nextscale {
namespace {

// Limits far above any real checkpoint (the largest has some hundred thousand values) and far below
// what would hurt.
constexpr size_t kMaxNodes = size_t{1} << 22;
constexpr size_t kMaxStack = size_t{1} << 20;
constexpr size_t kMaxMemo = size_t{1} << 21;
constexpr size_t kMaxMarks = 1000;
constexpr int kMaxProtocol = 5;

// Instructions, by the names of CPython's pickletools.
enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kEmptyDict = '}',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kEmptyList = ']',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::string_view where, PickleHost& host,
          PickleGraph& graph)
      : bytes_(bytes), where_(where), host_(host), graph_(graph) {}

  PickleId run() {
    for (;;) {
      const uint8_t opcode = take_unsigned<uint8_t>();
      if (opcode == kStop) return pop();
      step(opcode);
      if (graph_.num_nodes() > kMaxNodes) refuse("holds too many values");
    }
  }

 private:
  void step(uint8_t opcode) {
    if (step_stack(opcode) || step_scalar(opcode) || step_container(opcode) ||
        step_reference(opcode))
      return;
    refuse(fmt::format("uses the instruction 0x{:02x}, which no checkpoint needs", opcode));
  }

  // Marks, pops, framing.
  bool step_stack(uint8_t opcode) {
    switch (opcode) {
      case kProto:
        require_protocol(take_unsigned<uint8_t>());
        return true;
      // A frame only announces how many bytes follow; they are checked as they are read.
      case kFrame:
        take_unsigned<uint64_t>();
        return true;
      case kMark:
        mark();
        return true;
      case kPopMark:
        pop_to_mark();
        return true;
      case kDup:
        push(top());
        return true;
      case kPop:
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      default:
        return false;
    }
  }

  bool step_scalar(uint8_t opcode) {
    switch (opcode) {
      case kNone:
        push(graph_.add(PickleKind::kNone));
        return true;
      case kNewTrue:
        push(graph_.add(PickleKind::kBool, 1));
        return true;
      case kNewFalse:
        push(graph_.add(PickleKind::kBool, 0));
        return true;
      case kBinInt:
        push_int(static_cast<int32_t>(take_unsigned<uint32_t>()));
        return true;
      case kBinInt1:
        push_int(take_unsigned<uint8_t>());
        return true;
      case kBinInt2:
        push_int(take_unsigned<uint16_t>());
        return true;
      case kLong1:
        push_long(take_unsigned<uint8_t>());
        return true;
      case kLong4:
        push_long(take_unsigned<uint32_t>());
        return true;
      case kBinFloat:
        take(sizeof(double));
        push(graph_.add(PickleKind::kOther));
        return true;
      case kShortBinUnicode:
      case kShortBinString:
        push(graph_.add_text(take(take_unsigned<uint8_t>())));
        return true;
      case kBinUnicode:
      case kBinString:
        push(graph_.add_text(take(take_unsigned<uint32_t>())));
        return true;
      case kBinUnicode8:
        push(graph_.add_text(take(take_unsigned<uint64_t>())));
        return true;
      case kShortBinBytes:
        push_bytes(take_unsigned<uint8_t>());
        return true;
      case kBinBytes:
        push_bytes(take_unsigned<uint32_t>());
        return true;
      case kBinBytes8:
      case kByteArray8:
        push_bytes(take_unsigned<uint64_t>());
        return true;
      default:
        return false;
    }
  }

  bool step_container(uint8_t opcode) {
    switch (opcode) {
      case kEmptyTuple:
        push(graph_.add_container(PickleKind::kTuple, {}));
        return true;
      case kEmptyList:
        push(graph_.add_container(PickleKind::kList, {}));
        return true;
      case kEmptyDict:
        push(graph_.add_container(PickleKind::kDict, {}));
        return true;
      case kEmptySet:
        push(graph_.add(PickleKind::kOther));
        return true;
      case kTuple1:
      case kTuple2:
      case kTuple3:
        push_tuple(opcode - kTuple1 + 1);
        return true;
      case kTuple:
        push_marked(PickleKind::kTuple);
        return true;
      case kList:
        push_marked(PickleKind::kList);
        return true;
      case kDict:
        push_marked(PickleKind::kDict);
        return true;
      case kFrozenSet:
        pop_to_mark();
        push(graph_.add(PickleKind::kOther));
        return true;
      case kAddItems:
        pop_to_mark();
        top();
        return true;
      case kAppend:
        extend(PickleKind::kList, {pop()});
        return true;
      case kAppends:
        extend(PickleKind::kList, pop_to_mark());
        return true;
      case kSetItem:
        set_item();
        return true;
      case kSetItems:
        extend(PickleKind::kDict, pop_to_mark());
        return true;
      default:
        return false;
    }
  }

  // The memo, names, calls.
  bool step_reference(uint8_t opcode) {
    switch (opcode) {
      case kBinPut:
        memoize(take_unsigned<uint8_t>());
        return true;
      case kLongBinPut:
        memoize(take_unsigned<uint32_t>());
        return true;
      case kMemoize:
        memoize(memo_.size());
        return true;
      case kBinGet:
        recall(take_unsigned<uint8_t>());
        return true;
      case kLongBinGet:
        recall(take_unsigned<uint32_t>());
        return true;
      case kGlobal:
        push_global();
        return true;
      case kStackGlobal:
        push_stack_global();
        return true;
      case kBinPersId:
        push(host_.persistent(graph_, pop()));
        return true;
      case kReduce:
      case kNewObj:
        call();
        return true;
      // State of an object: nothing of a checkpoint that matters lives there.
      case kBuild:
        pop();
        top();
        return true;
      default:
        return false;
    }
  }

  [[noreturn]] void refuse(std::string_view problem) const {
    fail(ErrorCode::kBadFile,
         "pickle: {} {} (at byte {}); nothing was executed, get the file from its publisher again",
         where_, problem, at_);
  }

  std::string_view take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse("ends in the middle of a value");
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + at_;
    at_ += count;
    return {start, count};
  }

  template <typename T>
  T take_unsigned() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  std::string_view take_line() {
    const auto* start = reinterpret_cast<const char*>(bytes_.data()) + at_;
    const std::string_view rest(start, bytes_.size() - at_);
    const size_t length = rest.find('\n');
    if (length == std::string_view::npos) refuse("ends in the middle of a name");
    at_ += length + 1;
    return rest.substr(0, length);
  }

  void require_protocol(int protocol) const {
    if (protocol > kMaxProtocol)
      refuse(fmt::format("has protocol {}, wanted at most {}", protocol, kMaxProtocol));
  }

  // Values above the innermost mark; the rest belongs to unfinished containers.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  void push(PickleId id) {
    if (stack_.size() == kMaxStack) refuse("needs too large a stack");
    stack_.push_back(id);
  }

  PickleId top() const {
    if (stack_.size() <= floor()) refuse("takes a value that is not there");
    return stack_.back();
  }

  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }

  void mark() {
    if (marks_.size() == kMaxMarks)
      refuse(fmt::format("is nested deeper than {} levels", kMaxMarks));
    marks_.push_back(stack_.size());
  }

  std::vector<PickleId> pop_to_mark() {
    if (marks_.empty()) refuse("closes a list that was not opened");
    const auto start = stack_.begin() + static_cast<ptrdiff_t>(marks_.back());
    std::vector<PickleId> values(start, stack_.end());
    stack_.erase(start, stack_.end());
    marks_.pop_back();
    return values;
  }

  void push_int(int64_t value) { push(graph_.add(PickleKind::kInt, value)); }

  void push_long(uint64_t count) {
    const std::string_view digits = take(count);
    if (count > sizeof(int64_t)) {
      push(graph_.add(PickleKind::kOther));
      return;
    }
    const bool is_negative = !digits.empty() && (digits.back() & 0x80) != 0;
    int64_t value = is_negative ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    push_int(value);
  }

  void push_bytes(uint64_t count) {
    take(count);
    push(graph_.add(PickleKind::kOther));
  }

  void push_tuple(int count) {
    std::vector<PickleId> values(static_cast<size_t>(count));
    for (size_t index = values.size(); index-- > 0;) values[index] = pop();
    push(graph_.add_container(PickleKind::kTuple, std::move(values)));
  }

  void push_marked(PickleKind kind) {
    std::vector<PickleId> values = pop_to_mark();
    if (kind == PickleKind::kDict && values.size() % 2 != 0) refuse("has a key without a value");
    push(graph_.add_container(kind, std::move(values)));
  }

  void extend(PickleKind kind, const std::vector<PickleId>& values) {
    if (graph_.kind(top()) != kind) refuse("adds to something that is no container");
    if (kind == PickleKind::kDict && values.size() % 2 != 0) refuse("has a key without a value");
    std::vector<PickleId>& children = graph_.children(top());
    children.insert(children.end(), values.begin(), values.end());
  }

  void set_item() {
    const PickleId value = pop();
    const PickleId key = pop();
    extend(PickleKind::kDict, {key, value});
  }

  void memoize(uint64_t key) {
    if (memo_.size() == kMaxMemo) refuse("remembers too many values");
    memo_[key] = top();
  }

  void recall(uint64_t key) {
    const auto row = memo_.find(key);
    if (row == memo_.end()) refuse("recalls a value that it did not store");
    push(row->second);
  }

  void push_global() {
    const std::string_view module = take_line();
    const std::string_view name = take_line();
    push(host_.global(graph_, module, name));
  }

  void push_stack_global() {
    const PickleId name = pop();
    const PickleId module = pop();
    if (graph_.kind(name) != PickleKind::kText || graph_.kind(module) != PickleKind::kText) {
      refuse("names something with a value that is no text");
    }
    push(host_.global(graph_, graph_.text(module), graph_.text(name)));
  }

  void call() {
    const PickleId arguments = pop();
    const PickleId callable = pop();
    if (graph_.kind(arguments) != PickleKind::kTuple ||
        graph_.kind(callable) != PickleKind::kGlobal) {
      refuse("calls something that is no function");
    }
    push(host_.call(graph_, callable, arguments));
  }

  std::span<const std::byte> bytes_;
  std::string_view where_;
  PickleHost& host_;
  PickleGraph& graph_;
  size_t at_ = 0;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;  // stack sizes at the open marks
  std::unordered_map<uint64_t, PickleId> memo_;
};

}  // namespace

PickleId PickleGraph::add(PickleKind kind, int64_t number) {
  nodes_.push_back({kind, number});
  return static_cast<PickleId>(nodes_.size() - 1);
}

PickleId PickleGraph::add_text(std::string_view text) {
  texts_.push_back(text);
  return add(PickleKind::kText, static_cast<int64_t>(texts_.size() - 1));
}

PickleId PickleGraph::add_container(PickleKind kind, std::vector<PickleId> children) {
  children_.push_back(std::move(children));
  return add(kind, static_cast<int64_t>(children_.size() - 1));
}

PickleId run_pickle(std::span<const std::byte> bytes, std::string_view where, PickleHost& host,
                    PickleGraph& graph) {
  return Machine(bytes, where, host, graph).run();
}

}  // namespace nextscale
