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
#include "core/memory_info.h"
#include "weights/file_error.h"
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

uint64_t bytes_of(const std::vector<TensorInfo>& tensors) {
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : tensors) bytes += tensor.num_bytes();
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
        writer_(path_, tensors_, {{"format", "pt"}}) {}

  ModelFile run(Progress& progress) {
    progress.begin(fmt::format("writing {}", path_.filename().string()));
    for (const TensorInfo& tensor : tensors_) copy(tensor, progress);
    ModelFile file{path_.filename().string(), writer_.file_bytes(), ""};
    file.sha256 = writer_.finish();
    return file;
  }

 private:
  void copy(const TensorInfo& wanted, Progress& progress) {
    const TensorInfo& stored = *part_.find(wanted.name);
    bytes_.resize(stored.num_bytes());
    part_.checkpoint->read(stored.name, bytes_);
    const size_t element_bytes = dtype_bytes(stored.dtype);
    const size_t count = bytes_.size() / element_bytes;
    for (size_t start = 0; start < count; start += kPieceElements) {
      const size_t length = std::min(kPieceElements, count - start);
      const ConstTensorView piece{bytes_.data() + start * element_bytes, stored.dtype,
                                  Shape{static_cast<int64_t>(length)}};
      values_.resize(length);
      copy_to_f32(piece, values_);
      write_piece(stored, wanted.dtype);
      progress.add(length * dtype_bytes(wanted.dtype));
    }
  }

  void write_piece(const TensorInfo& stored, DType dtype) {
    if (!all_finite(values_)) {
      fail(ErrorCode::kBadFile,
           "convert: tensor '{}' of {} holds values that are not finite; the file is damaged, "
           "download it again",
           printable(stored.name), shown(part_.checkpoint->path()));
    }
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
};

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
    for (const fs::path& path : file.part.checkpoint->files()) result.insert(path);
  }
  return result;
}

}  // namespace

void require_storable(DType dtype) {
  if (dtype == DType::kF32 || dtype == DType::kBF16) return;
  fail(ErrorCode::kUsage, "convert: got --dtype {}, wanted f32 or bf16", dtype_name(dtype));
}

void write_model_folder(const ConvertOptions& options, json config,
                        std::span<const FolderFile> files, const ConvertProgress& report) {
  const std::set<fs::path> sources = source_files(files);
  uint64_t total = 0;
  for (const FolderFile& file : files) total += bytes_of(file.tensors);
  require_space(options.output, total);
  for (const fs::path& path : sources) total += fs::file_size(path);
  Progress progress(report, total);

  AtomicFolder folder(options.output, options.existing);
  config["format"] = kModelFormat;
  config["version"] = kModelVersion;
  config["weights_dtype"] = dtype_name(options.dtype);
  config["files"] = json::array();
  for (const FolderFile& file : files) {
    config["files"].push_back(to_json(PartWriter(file, folder.staging()).run(progress)));
  }
  config["sources"] = hash_sources(sources, progress);
  AtomicFile config_file(folder.staging() / kModelConfigName);
  config_file.write(config.dump(kJsonIndent) + "\n");
  config_file.commit();
  folder.commit();
}

}  // namespace nextscale
