// SPDX-License-Identifier: Apache-2.0
#include "models/checkpoint_part.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "core/error_format.h"
#include "weights/file_error.h"

namespace nextscale {
namespace {

constexpr size_t kShownProblems = 5;

struct Likeness {
  std::string_view name_part;  // of a tensor that only this network has
  std::string_view what;
};

constexpr std::array kLikenesses = std::to_array<Likeness>({
    {"text_proj_for_sos", "an Infinity transformer"},
    {"block_chunks.", "an Infinity transformer"},
    {"diffloss.", "a HART transformer"},
    {"mlp_ge.", "a OneCAT model"},
    {"vargpt_gen", "a VARGPT model"},
    {"pos_1LC", "a VAR transformer"},
    {"decoder.conv_in.weight", "the decoder of pictures (a VAE)"},
    {"decoder.conv_in.conv.weight", "the decoder of pictures (a VAE)"},
    {"model.layers.0.", "a language model"},
    {"encoder.block.0.layer.0.", "a T5 text encoder"},
});

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

// What is wrong with one tensor; empty if nothing.
std::string problem_of(const CheckpointPart& part, const TensorInfo& wanted) {
  const std::string name = part.full_name(wanted.name);
  if (const auto type = part.checkpoint->unreadable().find(name);
      type != part.checkpoint->unreadable().end()) {
    return fmt::format("'{}' has the type {}, wanted f32, f16 or bf16", printable(name),
                       printable(type->second));
  }
  const TensorInfo* info = part.checkpoint->find(name);
  if (info == nullptr) return fmt::format("'{}' is missing", printable(name));
  if (info->shape != wanted.shape) {
    return fmt::format("'{}' has shape {}, wanted {}", printable(name), info->shape.to_string(),
                       wanted.shape.to_string());
  }
  if (!is_float(info->dtype)) {
    return fmt::format("'{}' has the type {}, wanted f32, f16 or bf16", printable(name),
                       dtype_name(info->dtype));
  }
  return "";
}

}  // namespace

std::string what_it_looks_like(const Checkpoint& checkpoint) {
  for (const Likeness& row : kLikenesses) {
    const auto has_part = [&](const TensorInfo& tensor) {
      return tensor.name.find(row.name_part) != std::string::npos;
    };
    if (std::ranges::any_of(checkpoint.tensors(), has_part))
      return fmt::format("it looks like {}", row.what);
  }
  if (checkpoint.tensors().empty()) return "it holds no tensors";
  return fmt::format("it holds tensors like '{}'", printable(checkpoint.tensors().front().name));
}

CheckpointPart find_part(Checkpoint& checkpoint, const PartToFind& wanted) {
  std::vector<std::string> prefixes;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (!tensor.name.ends_with(wanted.anchor)) continue;
    const std::string prefix = tensor.name.substr(0, tensor.name.size() - wanted.anchor.size());
    if (prefix.empty() || prefix.ends_with('/')) prefixes.push_back(prefix);
  }
  if (prefixes.size() == 1) return {&checkpoint, prefixes.front()};
  if (!wanted.preferred.empty() && std::ranges::count(prefixes, wanted.preferred) == 1) {
    return {&checkpoint, std::string(wanted.preferred)};
  }
  if (prefixes.empty()) {
    fail(ErrorCode::kMismatch, "convert: {} holds no {}: {}; give the path of one with {}",
         shown(checkpoint.path()), wanted.what, what_it_looks_like(checkpoint), wanted.flag);
  }
  fail(ErrorCode::kMismatch,
       "convert: {} holds {} of {}, wanted one (the first two are '{}' and '{}'); save one alone",
       shown(checkpoint.path()), prefixes.size(), wanted.what, printable(prefixes[0]),
       printable(prefixes[1]));
}

Shape shape_of(const CheckpointPart& part, const std::string& name, int rank) {
  const TensorInfo* info = part.find(name);
  if (info == nullptr) {
    fail(ErrorCode::kMismatch,
         "convert: {} has no tensor '{}': {}; check that the file is complete",
         shown(part.checkpoint->path()), printable(part.full_name(name)),
         what_it_looks_like(*part.checkpoint));
  }
  if (info->shape.rank() != rank) {
    fail(ErrorCode::kMismatch,
         "convert: tensor '{}' of {} has shape {}, wanted {} dimensions; check that the file is an "
         "official checkpoint of this family",
         printable(info->name), shown(part.checkpoint->path()), info->shape.to_string(), rank);
  }
  return info->shape;
}

DecoderSizes decoder_sizes(const CheckpointPart& vae) {
  const auto first_conv = [](int64_t level) {
    return fmt::format("decoder.up.{}.block.0.conv1.weight", level);
  };
  DecoderSizes sizes{.base_channels = shape_of(vae, "decoder.conv_out.weight", 4)[1],
                     .channel_multipliers = {}};
  const int64_t levels = std::max<int64_t>(1, count_numbered(vae, first_conv));
  for (int64_t level = 0; level < levels; ++level) {
    sizes.channel_multipliers.push_back(shape_of(vae, first_conv(level), 4)[0] /
                                        std::max<int64_t>(sizes.base_channels, 1));
  }
  sizes.num_res_blocks =
      count_numbered(
          vae,
          [](int64_t block) { return fmt::format("decoder.up.0.block.{}.conv1.weight", block); }) -
      1;
  return sizes;
}

void require_tensors(const CheckpointPart& part, std::span<const TensorInfo> wanted,
                     std::string_view what) {
  std::vector<std::string> problems;
  for (const TensorInfo& tensor : wanted) {
    std::string problem = problem_of(part, tensor);
    if (!problem.empty()) problems.push_back(std::move(problem));
  }
  if (problems.empty()) return;
  const size_t num_shown = std::min(problems.size(), kShownProblems);
  const std::string more =
      problems.size() == num_shown ? "" : fmt::format(" and {} more", problems.size() - num_shown);
  fail(ErrorCode::kMismatch,
       "convert: {} does not hold a whole {}: {}{}; download or save it again",
       shown(part.checkpoint->path()), what,
       fmt::join(problems.begin(), problems.begin() + static_cast<ptrdiff_t>(num_shown), ", "),
       more);
}

}  // namespace nextscale
