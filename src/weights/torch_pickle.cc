// SPDX-License-Identifier: Apache-2.0
#include "weights/torch_pickle.h"

#include <algorithm>
#include <array>

#include "core/error_format.h"
#include "core/tensor.h"
#include "weights/pickle.h"
#include "weights/tensor_size.h"

namespace nextscale {
namespace {

constexpr size_t kMaxDepth = 16;  // of nested dictionaries; a training checkpoint has five
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxVisitedItems = size_t{1} << 22;
constexpr size_t kMaxTensors = size_t{1} << 18;

constexpr std::array<TorchStorageType, 10> kStorageTypes{{
    {"FloatStorage", "f32", 4, DType::kF32},
    {"BFloat16Storage", "bf16", 2, DType::kBF16},
    {"HalfStorage", "f16", 2, DType::kF16},
    {"CharStorage", "i8", 1, DType::kI8},
    {"ByteStorage", "u8", 1, DType::kU8},
    {"IntStorage", "i32", 4, DType::kI32},
    {"LongStorage", "i64", 8, DType::kI64},
    {"BoolStorage", "bool", 1, DType::kBool},
    {"DoubleStorage", "f64", 8, std::nullopt},
    {"ShortStorage", "i16", 2, std::nullopt},
}};

// What a permitted Python name stands for here.
enum class Role : int64_t {
  kMarker,      // a type or constant that is only mentioned
  kPlainValue,  // a call that makes a value nobody will ask for
  kOrderedDict,
  kSize,
  kRebuildTensor,
  kRebuildParameter,
  kRebuildFromType,
  kFirstStorageType,  // kFirstStorageType + index into kStorageTypes
};

struct GlobalRow {
  std::string_view module;
  std::string_view name;
  Role role;
};

constexpr std::array kGlobals = std::to_array<GlobalRow>({
    {"collections", "OrderedDict", Role::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", Role::kRebuildTensor},
    {"torch._utils", "_rebuild_parameter", Role::kRebuildParameter},
    {"torch._tensor", "_rebuild_from_type_v2", Role::kRebuildFromType},
    {"torch", "Size", Role::kSize},
    {"torch", "Tensor", Role::kMarker},
    {"torch.nn.parameter", "Parameter", Role::kMarker},
    {"torch", "float32", Role::kMarker},
    {"torch", "float16", Role::kMarker},
    {"torch", "bfloat16", Role::kMarker},
    {"torch", "float64", Role::kMarker},
    {"torch", "int64", Role::kMarker},
    {"torch", "device", Role::kPlainValue},
    {"builtins", "set", Role::kPlainValue},
    {"__builtin__", "set", Role::kPlainValue},
    {"_codecs", "encode", Role::kPlainValue},  // how protocol 2 writes bytes
});

struct Storage {
  std::string_view key;
  const TorchStorageType* type;
  int64_t num_elements;
};

struct Window {
  Storage storage;
  int64_t offset;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
  int64_t extent;
};

// Objects are storages or windows: their numbers are 2 * index and 2 * index + 1.
class TorchHost final : public PickleHost {
 public:
  explicit TorchHost(std::string_view where) : where_(where) {}

  const Window* window(const PickleGraph& graph, PickleId id) const {
    if (graph.kind(id) != PickleKind::kObject || graph.number(id) % 2 == 0) return nullptr;
    return &windows_[static_cast<size_t>(graph.number(id) / 2)];
  }

  PickleId global(PickleGraph& graph, std::string_view module, std::string_view name) override {
    const auto is_meant = [&](const GlobalRow& row) {
      return row.module == module && row.name == name;
    };
    const auto row = std::ranges::find_if(kGlobals, is_meant);
    if (row != kGlobals.end())
      return graph.add(PickleKind::kGlobal, static_cast<int64_t>(row->role));
    const auto storage = std::ranges::find(kStorageTypes, name, &TorchStorageType::name);
    if (module == "torch" && storage != kStorageTypes.end()) {
      return graph.add(PickleKind::kGlobal, static_cast<int64_t>(Role::kFirstStorageType) +
                                                (storage - kStorageTypes.begin()));
    }
    fail(ErrorCode::kBadFile,
         "torch: refuses global '{}.{}' in {}, which weights do not need; nothing was executed, "
         "use a file that "
         "holds only tensors",
         printable(module), printable(name), where_);
  }

  PickleId call(PickleGraph& graph, PickleId callable, PickleId arguments) override {
    return call_role(graph, static_cast<Role>(graph.number(callable)), arguments);
  }

  PickleId persistent(PickleGraph& graph, PickleId id) override {
    if (graph.kind(id) != PickleKind::kTuple || graph.children(id).size() < 5)
      refuse("has a storage without description");
    const std::vector<PickleId>& parts = graph.children(id);
    const bool is_storage =
        graph.kind(parts[0]) == PickleKind::kText && graph.text(parts[0]) == "storage" &&
        graph.kind(parts[1]) == PickleKind::kGlobal &&
        graph.number(parts[1]) >= static_cast<int64_t>(Role::kFirstStorageType) &&
        graph.kind(parts[2]) == PickleKind::kText;
    if (!is_storage) refuse("has a storage without description");
    const size_t type =
        static_cast<size_t>(graph.number(parts[1]) - static_cast<int64_t>(Role::kFirstStorageType));
    const int64_t count = integer(graph, parts[4]);
    if (count < 0 || count > kMaxTensorElements)
      refuse(fmt::format("claims a storage of {} elements", count));
    storages_.push_back({graph.text(parts[2]), &kStorageTypes[type], count});
    return graph.add(PickleKind::kObject, 2 * static_cast<int64_t>(storages_.size() - 1));
  }

 private:
  [[noreturn]] void refuse(std::string_view problem) const {
    fail(ErrorCode::kBadFile,
         "torch: {} {}; the file is damaged or hostile, get it from its publisher again", where_,
         problem);
  }

  PickleId call_role(PickleGraph& graph, Role role, PickleId arguments) {
    const std::vector<PickleId> values = graph.children(arguments);
    switch (role) {
      case Role::kOrderedDict:
        if (!values.empty()) refuse("fills a dictionary in an unknown way");
        return graph.add_container(PickleKind::kDict, {});
      case Role::kPlainValue:
        return graph.add(PickleKind::kOther);
      case Role::kSize:
        return values.size() == 1 && graph.kind(values[0]) == PickleKind::kTuple ? values[0]
                                                                                 : bad_call();
      case Role::kRebuildParameter:
        return !values.empty() && window(graph, values[0]) != nullptr ? values[0] : bad_call();
      case Role::kRebuildTensor:
        return rebuild_tensor(graph, values);
      case Role::kRebuildFromType:
        return rebuild_from_type(graph, values);
      default:
        return bad_call();
    }
  }

  [[noreturn]] PickleId bad_call() const {
    refuse("calls a function with arguments that it does not have");
  }

  // (function, type, arguments, state): the tensor that function(*arguments) gives.
  PickleId rebuild_from_type(PickleGraph& graph, const std::vector<PickleId>& values) {
    const bool is_sound = values.size() >= 3 && graph.kind(values[0]) == PickleKind::kGlobal &&
                          graph.kind(values[2]) == PickleKind::kTuple;
    if (!is_sound) bad_call();
    const Role role = static_cast<Role>(graph.number(values[0]));
    // Not itself again: that would be a recursion of the file's choosing.
    if (role != Role::kRebuildTensor && role != Role::kRebuildParameter) bad_call();
    return call_role(graph, role, values[2]);
  }

  // (storage, offset, sizes, strides, …)
  PickleId rebuild_tensor(PickleGraph& graph, const std::vector<PickleId>& values) {
    const bool is_sound = values.size() >= 4 && graph.kind(values[0]) == PickleKind::kObject &&
                          graph.number(values[0]) % 2 == 0;
    if (!is_sound) bad_call();
    const Storage& storage = storages_[static_cast<size_t>(graph.number(values[0]) / 2)];
    Window window{storage, integer(graph, values[1]), integers(graph, values[2]),
                  integers(graph, values[3]), 0};
    window.extent = checked_extent(window);
    windows_.push_back(std::move(window));
    return graph.add(PickleKind::kObject, 2 * static_cast<int64_t>(windows_.size() - 1) + 1);
  }

  // Throws unless the window lies inside its storage.
  int64_t checked_extent(const Window& window) const {
    const std::string key = printable(window.storage.key);
    if (window.sizes.size() > Shape::kMaxRank) {
      fail(ErrorCode::kUnsupported,
           "torch: {} has a tensor of {} dimensions, wanted at most {}; no model has such a tensor",
           where_, window.sizes.size(), Shape::kMaxRank);
    }
    const auto count = checked_num_elements(window.sizes);
    if (!count || window.strides.size() != window.sizes.size()) {
      refuse(fmt::format("has a tensor of impossible shape in storage '{}'", key));
    }
    int64_t extent = *count == 0 ? 0 : 1;
    for (size_t dim = 0; dim < window.sizes.size() && extent > 0; ++dim) {
      int64_t span = 0;
      const bool overflows =
          window.strides[dim] < 0 ||
          __builtin_mul_overflow(window.sizes[dim] - 1, window.strides[dim], &span) ||
          __builtin_add_overflow(extent, span, &extent);
      if (overflows) refuse(fmt::format("has a tensor of impossible strides in storage '{}'", key));
    }
    const int64_t available = window.storage.num_elements;
    if (window.offset < 0 || window.offset > available || extent > available - window.offset) {
      refuse(fmt::format("has a tensor outside its storage '{}' of {} elements", key, available));
    }
    return extent;
  }

  int64_t integer(const PickleGraph& graph, PickleId id) const {
    if (graph.kind(id) != PickleKind::kInt) refuse("has a size that is no whole number");
    return graph.number(id);
  }

  std::vector<int64_t> integers(const PickleGraph& graph, PickleId id) const {
    if (graph.kind(id) != PickleKind::kTuple) refuse("has a shape that is no tuple");
    std::vector<int64_t> result;
    for (PickleId child : graph.children(id)) result.push_back(integer(graph, child));
    return result;
  }

  std::string_view where_;
  std::vector<Storage> storages_;
  std::vector<Window> windows_;
};

// Walks nested dictionaries without recursion.
class Flattener {
 public:
  Flattener(std::string_view where, const PickleGraph& graph, const TorchHost& host)
      : where_(where), graph_(graph), host_(host) {}

  std::vector<TorchTensor> run(PickleId root) {
    if (graph_.kind(root) != PickleKind::kDict) {
      fail(ErrorCode::kMismatch,
           "torch: {} holds no dictionary of named tensors; save a model's state_dict()", where_);
    }
    pending_.push_back({root, "", 0});
    while (!pending_.empty()) {
      const Place place = std::move(pending_.back());
      pending_.pop_back();
      visit_dict(place);
    }
    return std::move(tensors_);
  }

 private:
  struct Place {
    PickleId dict;
    std::string prefix;
    size_t depth;
  };

  void visit_dict(const Place& place) {
    if (place.depth == kMaxDepth)
      refuse(fmt::format("nests dictionaries deeper than {} levels", kMaxDepth));
    const std::vector<PickleId>& items = graph_.children(place.dict);
    visited_ += items.size() / 2 + 1;
    if (visited_ > kMaxVisitedItems) refuse("has too many entries");
    for (size_t item = 0; item + 1 < items.size(); item += 2)
      visit_item(place, items[item], items[item + 1]);
  }

  void visit_item(const Place& place, PickleId key, PickleId value) {
    const Window* window = host_.window(graph_, value);
    const bool is_dict = graph_.kind(value) == PickleKind::kDict;
    if (!is_dict && window == nullptr) return;
    const std::string name = place.prefix + key_text(key);
    if (name.size() > kMaxNameBytes || printable(name, 2 * kMaxNameBytes) != name) {
      refuse(fmt::format("has the impossible tensor name '{}'", printable(name)));
    }
    if (is_dict) {
      pending_.push_back({value, name + "/", place.depth + 1});
      return;
    }
    if (tensors_.size() == kMaxTensors) refuse("has too many tensors");
    tensors_.push_back({name, std::string(window->storage.key), window->storage.type,
                        window->storage.num_elements, window->offset, window->sizes,
                        window->strides, window->extent});
  }

  std::string key_text(PickleId key) const {
    if (graph_.kind(key) == PickleKind::kText) return std::string(graph_.text(key));
    if (graph_.kind(key) == PickleKind::kInt) return std::to_string(graph_.number(key));
    refuse("has a tensor whose name is no text");
  }

  [[noreturn]] void refuse(std::string_view problem) const {
    fail(ErrorCode::kBadFile,
         "torch: {} {}; the file is damaged or hostile, get it from its publisher again", where_,
         problem);
  }

  std::string_view where_;
  const PickleGraph& graph_;
  const TorchHost& host_;
  std::vector<Place> pending_;
  std::vector<TorchTensor> tensors_;
  size_t visited_ = 0;
};

}  // namespace

std::vector<TorchTensor> read_torch_pickle(std::span<const std::byte> bytes,
                                           std::string_view where) {
  PickleGraph graph;
  TorchHost host(where);
  const PickleId root = run_pickle(bytes, where, host, graph);
  std::vector<TorchTensor> tensors = Flattener(where, graph, host).run(root);
  std::ranges::sort(tensors, {}, &TorchTensor::name);
  const auto twice = std::ranges::adjacent_find(tensors, {}, &TorchTensor::name);
  if (twice != tensors.end()) {
    fail(ErrorCode::kBadFile,
         "torch: {} has the tensor '{}' twice; get the file from its publisher again", where,
         printable(twice->name));
  }
  return tensors;
}

}  // namespace nextscale
