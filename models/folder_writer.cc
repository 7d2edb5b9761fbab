// SPDX-License-Identifier: Apache-2.0
#include "models/folder_writer.h"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/atomic_file.h"
#include "core/error_format.h"
#include "core/int8_row.h"
#include "core/memory_info.h"
#include "weights/file_error.h"
#include "weights/mapped_file.h"
#include "weights/model_folder.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace nextscale {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kPieceElements = size_t{1} << 18;
constexpr int kJsonIndent = 2;

class Progress {
 public:
  Progress(const ConvertProgress& report, uint64_t total) : report_(report), total_(total) {}

  void begin(std::string what) { what_ = std::move(what); }
  void add(uint64_t bytes) {
    done_ += bytes;
    if (report_) report_(done_, total_, what_);
  }

 private:
  const ConvertProgress& report_;
  uint64_t total_;
  uint64_t done_ = 0;
  std::string what_;
};

// What is written: what was asked for, and behind it the factors of i8 rows.
std::vector<TensorInfo> written_tensors(const FolderFile& file) {
  std::vector<TensorInfo> tensors = file.tensors;
  for (const TensorInfo& tensor : file.tensors) {
    if (tensor.dtype != DType::kI8) continue;
    tensors.push_back(
        {tensor.name + std::string(kRowFactorsEnding), DType::kF32, Shape{tensor.shape[0]}});
  }
  return tensors;
}

uint64_t bytes_of(const FolderFile& file) {
  if (!file.copied.empty()) return fs::file_size(file.copied);
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : written_tensors(file)) bytes += tensor.num_bytes();
  return bytes;
}

bool all_finite(std::span<const float> values) {
  constexpr uint32_t kExponent = 0x7f800000U;
  uint32_t bad = 0;  // without a branch, so that the loop is vector code
  for (const float value : values)
    bad |= (std::bit_cast<uint32_t>(value) & kExponent) == kExponent ? 1U : 0U;
  return bad == 0;
}

// Copies the tensors of one network into a new file, tensor by tensor.
class PartWriter {
 public:
  PartWriter(const FolderFile& file, const fs::path& folder)
      : part_(file.part),
        path_(folder / file.name),
        tensors_(file.tensors),
        writer_(path_, written_tensors(file), {{"format", "pt"}}) {}

  ModelFile run(Progress& progress) {
    progress.begin(fmt::format("writing {}", path_.filename().string()));
    for (const TensorInfo& tensor : tensors_) {
      const TensorInfo& stored = read(tensor.name);
      if (tensor.dtype == DType::kI8) {
        quantize(stored, progress);
      } else {
        copy(stored, tensor.dtype, progress);
      }
    }
    writer_.write(std::as_bytes(std::span(factors_)));
    progress.add(factors_.size() * sizeof(float));
    ModelFile file{path_.filename().string(), writer_.file_bytes(), ""};
    file.sha256 = writer_.finish();
    return file;
  }

 private:
  const TensorInfo& read(const std::string& name) {
    const TensorInfo& stored = *part_.find(name);
    bytes_.resize(stored.num_bytes());
    part_.checkpoint->read(stored.name, bytes_);
    return stored;
  }

  // Widens elements [start, start + length) of what was read into values_.
  void widen(const TensorInfo& stored, size_t start, size_t length) {
    const ConstTensorView piece{bytes_.data() + start * dtype_bytes(stored.dtype), stored.dtype,
                                Shape{static_cast<int64_t>(length)}};
    values_.resize(length);
    copy_to_f32(piece, values_);
    if (all_finite(values_)) return;
    fail(ErrorCode::kBadFile,
         "convert: tensor '{}' of {} holds values that are not finite; the file is damaged, "
         "download it again",
         printable(stored.name), shown(part_.checkpoint->path()));
  }

  void copy(const TensorInfo& stored, DType dtype, Progress& progress) {
    const auto count = static_cast<size_t>(stored.shape.num_elements());
    for (size_t start = 0; start < count; start += kPieceElements) {
      const size_t length = std::min(kPieceElements, count - start);
      widen(stored, start, length);
      write_piece(dtype);
      progress.add(length * dtype_bytes(dtype));
    }
  }

  void quantize(const TensorInfo& stored, Progress& progress) {
    const auto columns = static_cast<size_t>(stored.shape[1]);
    whole_.resize(columns);
    for (size_t row = 0; row < static_cast<size_t>(stored.shape[0]); ++row) {
      widen(stored, row * columns, columns);
      factors_.push_back(quantize_row(values_, whole_));
      writer_.write(std::as_bytes(std::span(whole_)));
    }
    progress.add(static_cast<uint64_t>(stored.shape.num_elements()));
  }

  void write_piece(DType dtype) {
    if (dtype == DType::kF32) {
      writer_.write(std::as_bytes(std::span(values_)));
      return;
    }
    halves_.resize(values_.size());
    std::ranges::transform(values_, halves_.begin(), to_bf16);
    writer_.write(std::as_bytes(std::span(halves_)));
  }

  const CheckpointPart& part_;
  fs::path path_;
  const std::vector<TensorInfo>& tensors_;
  SafetensorsWriter writer_;
  std::vector<std::byte> bytes_;
  std::vector<float> values_;
  std::vector<BFloat16> halves_;
  std::vector<int8_t> whole_;
  std::vector<float> factors_;  // of all rows so far
};

ModelFile copy_file(const FolderFile& file, const fs::path& folder, Progress& progress) {
  progress.begin(fmt::format("writing {}", file.name));
  const MappedFile source(file.copied);
  AtomicFile copy(folder / file.name);
  copy.write(source.bytes());
  copy.commit();
  progress.add(source.size());
  return {std::string(file.name), source.size(), sha256_hex(source.bytes())};
}

ModelFile write_file(const FolderFile& file, const fs::path& folder, Progress& progress) {
  if (!file.copied.empty()) return copy_file(file, folder, progress);
  return PartWriter(file, folder).run(progress);
}

json to_json(const ModelFile& file) {
  return {{"file", file.name}, {"bytes", file.bytes}, {"sha256", file.sha256}};
}

// Where the weights came from; the folder names of whoever converted are nobody's business.
json hash_sources(const std::set<fs::path>& sources, Progress& progress) {
  json result = json::array();
  for (const fs::path& path : sources) {
    progress.begin(fmt::format("hashing {}", printable(path.filename().native())));
    ModelFile file{printable(path.filename().native()), fs::file_size(path), ""};
    file.sha256 = sha256_of_file(path, [&](uint64_t bytes) { progress.add(bytes); });
    result.push_back(to_json(file));
  }
  return result;
}

// Better now than after minutes of writing. Where the free space cannot be told, writing will.
void require_space(const fs::path& output, uint64_t bytes) {
  std::error_code error;
  const fs::path parent = fs::absolute(output, error).parent_path();
  const uint64_t available = fs::space(parent, error).available;
  if (error || available >= bytes) return;
  fail(ErrorCode::kIo,
       "convert: writing {} takes {}, but its disk has {} left; free some space or choose another "
       "disk",
       shown(output), format_bytes(bytes), format_bytes(available));
}

std::set<fs::path> source_files(std::span<const FolderFile> files) {
  std::set<fs::path> result;
  for (const FolderFile& file : files) {
    if (!file.copied.empty()) {
      result.insert(file.copied);
      continue;
    }
    for (const fs::path& path : file.part.checkpoint->files()) result.insert(path);
  }
  return result;
}

}  // namespace

void require_storable(DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kI8) return;
  fail(ErrorCode::kUsage, "convert: got --dtype {}, wanted f32, bf16 or int8", dtype_name(dtype));
}

void write_model_folder(const ConvertOptions& options, json config,
                        std::span<const FolderFile> files, const ConvertProgress& report) {
  const std::set<fs::path> sources = source_files(files);
  uint64_t total = 0;
  for (const FolderFile& file : files) total += bytes_of(file);
  require_space(options.output, total);
  for (const fs::path& path : sources) total += fs::file_size(path);
  Progress progress(report, total);

  AtomicFolder folder(options.output, options.existing);
  config["format"] = kModelFormat;
  config["version"] = kModelVersion;
  config["weights_dtype"] = dtype_name(options.dtype);
  config["files"] = json::array();
  for (const FolderFile& file : files) {
    config["files"].push_back(to_json(write_file(file, folder.staging(), progress)));
  }
  config["sources"] = hash_sources(sources, progress);
  AtomicFile config_file(folder.staging() / kModelConfigName);
  config_file.write(config.dump(kJsonIndent) + "\n");
  config_file.commit();
  folder.commit();
}

}  // namespace nextscale
