// SPDX-License-Identifier: Apache-2.0
#include "calibrate/calibration_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>

#include "core/error_format.h"
#include "weights/file_error.h"
#include "weights/json_text.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;
constexpr std::string_view kPartialFormat = "nextscale-calibration-partial";
constexpr std::string_view kPartialEnding = ".partial";
constexpr const char* kFormatKey = "format";
constexpr const char* kVersionKey = "version";
constexpr const char* kHeaderKey = "calibration";
constexpr const char* kSamplesKey = "samples_done";
constexpr const char* kSequencesKey = "sequences";

constexpr const char* kOrders = "heatkv.orders";
constexpr const char* kBudgets = "scalekv.layer_budgets";
constexpr const char* kDrafters = "scalekv.drafters";
// Of sums in an unfinished file, in the order of CalibrationSums::parts().
constexpr std::array<const char*, CalibrationSums::kParts> kSumNames{"mass", "sigma",
                                                                     "history_top"};
constexpr int32_t kNoHead = -1;

// Rounding of f32 files may put a mean a little outside of its range.
constexpr double kSlack = 1e-4;

// ---- Writing ------------------------------------------------------------------------------------

// One tensor with the bytes that go into the file.
struct NamedTensor {
  TensorInfo info;
  std::vector<std::byte> bytes;
};

template <typename Element, typename Value>
NamedTensor make_tensor(const char* name, DType dtype, const Shape& shape,
                        std::span<const Value> values) {
  const std::vector<Element> elements(values.begin(), values.end());
  const auto bytes = std::as_bytes(std::span(elements));
  return {{.name = name, .dtype = dtype, .shape = shape}, {bytes.begin(), bytes.end()}};
}

std::string write_tensors(const fs::path& path, const std::vector<NamedTensor>& tensors,
                          const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  for (const NamedTensor& tensor : tensors) infos.push_back(tensor.info);
  aligned_order(infos);
  SafetensorsWriter writer(path, infos, metadata);
  for (const TensorInfo& info : infos) {
    const auto tensor = std::ranges::find(tensors, info.name,
                                          [](const NamedTensor& each) { return each.info.name; });
    writer.write(tensor->bytes);
  }
  return writer.finish();
}

std::map<std::string, std::string> metadata_of(std::string_view format,
                                               const CalibrationHeader& header) {
  return {{kFormatKey, std::string(format)},
          {kVersionKey, std::to_string(kVersion)},
          {kHeaderKey, to_json(header).dump()}};
}

// Shapes of the tensors.
struct Shapes {
  explicit Shapes(const Geometry& geometry)
      : layers(geometry.layers), heads(geometry.kv_heads), steps(geometry.num_scales()) {}

  Shape mass() const { return {layers, heads, steps, steps}; }
  Shape sigma() const { return {layers, heads}; }
  Shape by_layer() const { return {layers, steps}; }
  Shape orders() const { return {steps, layers * heads}; }
  Shape by_step() const { return {steps, layers}; }
  Shape sums(int part) const { return part == 0 ? mass() : part == 1 ? sigma() : by_layer(); }

  int64_t layers;
  int64_t heads;
  int64_t steps;
};

// Heads as layer * kv_heads + head.
std::vector<int32_t> order_numbers(const Calibration& values) {
  const auto lists = static_cast<size_t>(values.layers * values.kv_heads);
  std::vector<int32_t> numbers;
  for (const auto& order : values.removal_orders) {
    for (size_t at = 0; at < lists; ++at) {
      numbers.push_back(
          order.empty() ? kNoHead
                        : static_cast<int32_t>(order[at].layer * values.kv_heads + order[at].head));
    }
  }
  return numbers;
}

std::vector<NamedTensor> tensors_of(const CalibrationFile& file) {
  const Calibration& values = file.values;
  const Shapes shapes(file.header.geometry);
  std::vector<NamedTensor> tensors;
  const auto add_floats = [&](const char* name, const Shape& shape,
                              const std::vector<double>& from) {
    if (from.empty()) return;
    tensors.push_back(make_tensor<float>(name, DType::kF32, shape, std::span(from)));
  };
  add_floats("mass", shapes.mass(), values.mass);
  add_floats("sigma", shapes.sigma(), values.sigma);
  add_floats("asi", shapes.by_layer(), values.asi);
  if (!values.removal_orders.empty()) {
    const std::vector<int32_t> numbers = order_numbers(values);
    tensors.push_back(make_tensor<int32_t>(kOrders, DType::kI32, shapes.orders(),
                                           std::span<const int32_t>(numbers)));
  }
  if (!values.layer_budgets.empty()) {
    tensors.push_back(make_tensor<int32_t>(kBudgets, DType::kI32, shapes.by_step(),
                                           std::span(values.layer_budgets)));
    tensors.push_back(
        make_tensor<uint8_t>(kDrafters, DType::kU8, shapes.by_step(), std::span(values.drafters)));
  }
  return tensors;
}

// ---- Reading ------------------------------------------------------------------------------------

[[noreturn]] void refuse(const std::string& where, std::string_view problem) {
  fail(ErrorCode::kBadFile,
       "calibration: {} is damaged: {}; make it anew with `nextscale calibrate`", where, problem);
}

// The entries that every file of ours has.
CalibrationHeader read_header(const SafetensorsFile& file, std::string_view format,
                              const std::string& where) {
  const auto entry = [&](const char* key) -> std::string {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? "" : found->second;
  };
  if (entry(kFormatKey) != format) {
    fail(ErrorCode::kMismatch,
         "calibration: {} is a safetensors file, but no calibration ('{}', wanted '{}'); make one "
         "with `nextscale calibrate`",
         where, printable(entry(kFormatKey)), format);
  }
  if (entry(kVersionKey) != std::to_string(kVersion)) {
    fail(ErrorCode::kMismatch,
         "calibration: {} has format version '{}', wanted {}; make it anew with this version",
         where, printable(entry(kVersionKey)), kVersion);
  }
  return parse_calibration_header(parse_json(entry(kHeaderKey), where), where);
}

template <typename Value>
std::vector<Value> read_tensor(SafetensorsFile& file, const char* name, DType dtype,
                               const Shape& shape, const std::string& where) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr) refuse(where, fmt::format("it has no tensor '{}'", name));
  if (info->dtype != dtype || !(info->shape == shape)) {
    refuse(where, fmt::format("'{}' is {} {}, wanted {} {}", name, dtype_name(info->dtype),
                              info->shape.to_string(), dtype_name(dtype), shape.to_string()));
  }
  std::vector<Value> values(static_cast<size_t>(shape.num_elements()));
  file.read(name, std::as_writable_bytes(std::span(values)));
  return values;
}

std::vector<double> read_floats(SafetensorsFile& file, const char* name, const Shape& shape,
                                double most, const std::string& where) {
  const auto floats = read_tensor<float>(file, name, DType::kF32, shape, where);
  for (const float value : floats) {
    if (!(value >= 0.0F && value <= most)) {
      refuse(where,
             fmt::format("'{}' holds {}, wanted numbers from 0 to {:.0f}", name, value, most));
    }
  }
  return {floats.begin(), floats.end()};
}

void read_orders(SafetensorsFile& file, const std::string& where, Calibration& values) {
  const auto lists = static_cast<size_t>(values.layers * values.kv_heads);
  const Shape shape{values.num_steps(), static_cast<int64_t>(lists)};
  const auto numbers = read_tensor<int32_t>(file, kOrders, DType::kI32, shape, where);
  for (size_t first = 0; first < numbers.size(); first += lists) {
    auto& order = values.removal_orders.emplace_back();
    if (numbers[first] == kNoHead) continue;
    for (size_t at = first; at < first + lists; ++at) {
      if (numbers[at] < 0 || static_cast<size_t>(numbers[at]) >= lists) {
        refuse(where, fmt::format("'{}' names head {} of {}", kOrders, numbers[at], lists));
      }
      order.push_back({numbers[at] / values.kv_heads, numbers[at] % values.kv_heads});
    }
  }
}

void read_budgets(SafetensorsFile& file, const Shape& shape, int64_t sequence,
                  const std::string& where, Calibration& values) {
  for (const int32_t budget : read_tensor<int32_t>(file, kBudgets, DType::kI32, shape, where)) {
    if (budget < 0 || budget > sequence) {
      refuse(where, fmt::format("'{}' holds {}, wanted 0 to {}", kBudgets, budget, sequence));
    }
    values.layer_budgets.push_back(budget);
  }
  values.drafters = read_tensor<uint8_t>(file, kDrafters, DType::kU8, shape, where);
  if (std::ranges::any_of(values.drafters, [](uint8_t role) { return role > 1; })) {
    refuse(where, fmt::format("'{}' holds other values than 0 and 1", kDrafters));
  }
}

}  // namespace

void write_calibration_file(const fs::path& path, CalibrationFile& file) {
  file.sha256 = write_tensors(path, tensors_of(file), metadata_of(kCalibrationFormat, file.header));
}

CalibrationFile read_calibration_file(const fs::path& path) {
  const std::string where = shown(path);
  SafetensorsFile file(path);
  CalibrationFile result;
  result.header = read_header(file, kCalibrationFormat, where);
  const Geometry& geometry = result.header.geometry;
  const Shapes shapes(geometry);
  Calibration& values = result.values;
  values.layers = geometry.layers;
  values.kv_heads = geometry.kv_heads;
  values.scales = geometry.scales;
  const int64_t sequence = geometry.tokens_through(geometry.num_scales() - 1);
  if (result.header.source) {
    values.mass = read_floats(file, "mass", shapes.mass(), 1.0 + kSlack, where);
    // Each column's variance is at most 1/4.
    values.sigma = read_floats(file, "sigma", shapes.sigma(), static_cast<double>(sequence), where);
    values.asi = read_floats(file, "asi", shapes.by_layer(), 1.0 + kSlack, where);
  }
  if (file.find(kOrders) != nullptr) read_orders(file, where, values);
  if (file.find(kBudgets) != nullptr) {
    read_budgets(file, shapes.by_step(), sequence, where, values);
  }
  require_calibration_of(values, geometry);
  result.sha256 = sha256_of_file(path);
  return result;
}

bool is_calibration_file(const fs::path& path) {
  try {
    const SafetensorsFile file(path);
    const auto format = file.metadata().find(kFormatKey);
    return format != file.metadata().end() && format->second == kCalibrationFormat;
  } catch (const Error&) {
    return false;
  }
}

void require_model(const CalibrationFile& file, const fs::path& path, std::string_view model_id,
                   const Geometry& geometry) {
  constexpr size_t kShownDigits = 12;
  require_calibration_of(file.values, geometry);
  if (file.header.model_id == model_id) return;
  fail(ErrorCode::kMismatch,
       "calibration: {} is of the model {}, this one is {}; make one with `nextscale calibrate -m "
       "MODEL -n 50 -o FILE`",
       shown(path), printable(file.header.model_id, kShownDigits),
       model_id.substr(0, kShownDigits));
}

fs::path partial_path(const fs::path& path) {
  return fs::path(path.native() + std::string(kPartialEnding));
}

// f64 is no type of our tensors, so sums are stored as the integers that their bits are.
void write_partial_calibration(const fs::path& path, const PartialCalibration& run) {
  const Shapes shapes(run.header.geometry);
  std::vector<NamedTensor> tensors;
  for (int part = 0; part < CalibrationSums::kParts; ++part) {
    const auto bytes = std::as_bytes(run.sums.parts(part));
    tensors.push_back({{.name = kSumNames[static_cast<size_t>(part)],
                        .dtype = DType::kI64,
                        .shape = shapes.sums(part)},
                       {bytes.begin(), bytes.end()}});
  }
  auto metadata = metadata_of(kPartialFormat, run.header);
  metadata[kSamplesKey] = std::to_string(run.samples_done);
  metadata[kSequencesKey] = std::to_string(run.sums.sequences);
  write_tensors(path, tensors, metadata);
}

PartialCalibration read_partial_calibration(const fs::path& path) {
  const std::string where = shown(path);
  SafetensorsFile file(path);
  PartialCalibration run;
  run.header = read_header(file, kPartialFormat, where);
  const Shapes shapes(run.header.geometry);
  for (int part = 0; part < CalibrationSums::kParts; ++part) {
    const char* name = kSumNames[static_cast<size_t>(part)];
    const auto bits = read_tensor<int64_t>(file, name, DType::kI64, shapes.sums(part), where);
    std::vector<double> sums(bits.size());
    std::memcpy(sums.data(), bits.data(), bits.size() * sizeof(double));
    if (!std::ranges::all_of(sums, [](double sum) { return std::isfinite(sum) && sum >= 0; })) {
      refuse(where, fmt::format("'{}' holds something that is no sum", name));
    }
    (part == 0   ? run.sums.mass
     : part == 1 ? run.sums.sigma
                 : run.sums.history_top) = std::move(sums);
  }
  const auto count = [&](const char* key) {
    const auto found = file.metadata().find(key);
    const std::string text = found == file.metadata().end() ? "" : found->second;
    constexpr size_t kMaxDigits = 15;
    if (text.empty() || text.size() > kMaxDigits ||
        text.find_first_not_of("0123456789") != std::string::npos) {
      refuse(where, fmt::format("wanted '{}' to be a number", key));
    }
    return std::stoll(text);
  };
  run.samples_done = count(kSamplesKey);
  run.sums.sequences = count(kSequencesKey);
  return run;
}

}  // namespace nextscale
