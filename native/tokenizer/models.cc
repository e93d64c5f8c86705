#include "tokenizer/models.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <queue>
#include <utility>

#include "threads/threads.h"
#include "tokenizer/utf8.h"

namespace clip::tokenizer {
namespace {

// Number of steps between two checks whether the work was cancelled.
constexpr size_t kLook = 4096;

void look(size_t step) {
  if (step % kLook == 0) endIfStopped();
}

}  // namespace

void Model::findByteIds() {
  for (unsigned byte = 0; byte < 256; ++byte) {
    char spelling[8];
    std::snprintf(spelling, sizeof spelling, "<0x%02X>", byte);
    byteIds[byte] = static_cast<int32_t>(pieces.find(spelling));
  }
}

// ---- Unigram

Unigram::Unigram(Pieces own, std::vector<double> scores, int32_t unknown, Options options)
    : scores_(std::move(scores)), options_(std::move(options)) {
  pieces = std::move(own);
  unknownId = unknown;
  findByteIds();
  scores_.resize(pieces.size());
  const auto kindOf = [&](uint32_t id) {
    return options_.sentencePiece && id < options_.kinds.size() ? options_.kinds[id] : Kind::normal;
  };
  size_t nodes = 1;
  for (uint32_t id = 0; id < pieces.size(); ++id)
    if (pieces.has(id)) nodes += pieces.at(id).size() / 3 + 1;
  trie_.reserve(std::min<size_t>(nodes, size_t{1} << 22));
  bool any = false;
  for (uint32_t id = 0; id < pieces.size(); ++id) {
    if (!pieces.has(id)) continue;
    const Kind kind = kindOf(id);
    if (kind == Kind::normal) {
      least_ = any ? std::min(least_, scores_[id]) : scores_[id];
      most_ = any ? std::max(most_, scores_[id]) : scores_[id];
      any = true;
    }
    if (kind == Kind::unknown || kind == Kind::control || kind == Kind::byte || kind == Kind::unused)
      continue;
    const std::string_view spelling = pieces.at(id);
    if (spelling.empty()) continue;
    uint32_t node = Trie::kRoot;
    for (size_t at = 0; at < spelling.size();) node = trie_.add(node, next(spelling, at));
    trie_.setValue(node, static_cast<int32_t>(id));
  }
}

void Unigram::encode(std::string_view word, bool special, Ids& out) const {
  if (options_.sentencePiece)
    best<float>(word, special, out);
  else
    best<double>(word, special, out);
}

void Unigram::putUnknown(std::string_view spelling, bool special, Ids& out) const {
  const int64_t known = pieces.find(spelling);
  if (known >= 0 && (special || !isSpecial(known))) {
    out.push_back(static_cast<int32_t>(known));
    return;
  }
  if (options_.byteFallback && std::all_of(spelling.begin(), spelling.end(), [&](char c) {
        return byteIds[static_cast<unsigned char>(c)] >= 0;
      })) {
    for (const char c : spelling) out.push_back(byteIds[static_cast<unsigned char>(c)]);
    return;
  }
  out.push_back(unknownId);
}

// Viterbi: finds the pieces with the largest sum of scores. Score is the type in which sums are kept.
template <class Score>
void Unigram::best(std::string_view word, bool special, Ids& out) const {
  struct End {
    Score score = 0;
    int32_t start = -1;
    int32_t id = 0;
  };
  std::vector<End> ends(word.size() + 1);
  const double unknownScore =
      options_.sentencePiece ? static_cast<float>(static_cast<float>(least_) - 10.f) : least_ - 10.0;
  size_t steps = 0;
  for (size_t start = 0; start < word.size();) {
    const Score here = ends[start].score;
    size_t single = start;
    next(word, single);
    bool hasSingle = false;
    const auto offer = [&](size_t end, double score, int32_t id) {
      End& target = ends[end];
      // SentencePiece adds the scores of pieces in double, but that of an unknown character in float32.
      double sum = score + static_cast<double>(here);
      if (id == unknownId) sum = static_cast<double>(static_cast<Score>(sum));
      if (target.start >= 0 && !(sum > static_cast<double>(target.score))) return;
      target = {static_cast<Score>(sum), static_cast<int32_t>(start), id};
    };
    uint32_t node = Trie::kRoot;
    for (size_t at = start; at < word.size();) {
      look(++steps);
      node = trie_.child(node, next(word, at));
      if (node == Trie::kNone) break;
      const int32_t id = trie_.value(node);
      if (id < 0 ||
          (!special && static_cast<size_t>(id) < specials.size() && specials[static_cast<size_t>(id)]))
        continue;
      double score = scores_[static_cast<size_t>(id)];
      if (options_.sentencePiece && options_.kinds[static_cast<size_t>(id)] == Kind::userDefined)
        score = static_cast<double>(static_cast<float>(at - start) * static_cast<float>(most_)) - 0.1;
      offer(at, score, id);
      hasSingle |= at == single;
    }
    if (!hasSingle) offer(single, unknownScore, unknownId);
    start = single;
  }
  // Collects the path backwards and then reverses it. Consecutive unknown characters become one token.
  const size_t first = out.size();
  std::vector<std::pair<size_t, size_t>> parts;
  for (size_t end = word.size(); end > 0;) {
    const End& one = ends[end];
    const auto start = static_cast<size_t>(one.start);
    if (one.id == unknownId && !parts.empty() && parts.back().first == end && out.back() == unknownId) {
      parts.back().first = start;
    } else {
      out.push_back(one.id);
      parts.emplace_back(start, end);
    }
    end = start;
  }
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
  std::reverse(parts.begin(), parts.end());
  // The spelling of a run of unknown characters may still be a piece, or be encoded as bytes.
  const Ids found(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
  out.resize(first);
  for (size_t i = 0; i < found.size(); ++i)
    if (found[i] == unknownId)
      putUnknown(word.substr(parts[i].first, parts[i].second - parts[i].first), special, out);
    else
      out.push_back(found[i]);
}

// ---- Byte pair encoding

void Merges::reserve(size_t merges) {
  if (merges * 4 / 3 > slots_.size()) grow(std::bit_ceil(merges * 4 / 3));
}

void Merges::grow(size_t slots) {
  const std::vector<Merge> old = std::exchange(slots_, std::vector<Merge>(slots));
  for (const Merge& merge : old)
    if (merge.pair != UINT64_MAX) slots_[slotOf(merge.pair)] = merge;
}

void Merges::put(uint32_t left, uint32_t right, uint32_t rank, uint32_t merged) {
  if ((count_ + 1) * 4 > slots_.size() * 3) grow(std::max<size_t>(64, slots_.size() * 2));
  Merge& merge = slots_[slotOf(static_cast<uint64_t>(left) << 32 | right)];
  count_ += merge.pair == UINT64_MAX;
  merge = {static_cast<uint64_t>(left) << 32 | right, rank, merged};
}

void Merges::prefetch(uint32_t left, uint32_t right) const {
  if (!slots_.empty())
    fetch(&slots_[mixed((static_cast<uint64_t>(left) << 32 | right) ^ seed_) & (slots_.size() - 1)]);
}

Bpe::Bpe(Pieces own, Merges merges, int32_t unknown, Options options)
    : merges_(std::move(merges)), options_(std::move(options)) {
  pieces = std::move(own);
  unknownId = unknown;
  findByteIds();
}

// Splits a word into symbols, one per character: its piece, the pieces of its bytes, or the unknown piece.
void Bpe::split(std::string_view word, std::vector<Symbol>& symbols) const {
  const auto add = [&](int32_t id) {
    const auto n = static_cast<int32_t>(symbols.size());
    if (n > 0) symbols.back().after = n;
    symbols.push_back({static_cast<uint32_t>(id), n - 1, -1, false});
  };
  bool pending = false;
  std::string spelling;
  for (size_t at = 0; at < word.size();) {
    const size_t from = at;
    next(word, at);
    std::string_view one = word.substr(from, at - from);
    if ((from > 0 && !options_.continuingPrefix.empty()) ||
        (at == word.size() && !options_.endSuffix.empty())) {
      spelling = from > 0 ? options_.continuingPrefix : "";
      spelling += one;
      if (at == word.size()) spelling += options_.endSuffix;
      one = spelling;
    }
    const int64_t id = pieces.find(one);
    if (id >= 0) {
      if (pending) add(unknownId);
      pending = false;
      add(static_cast<int32_t>(id));
      continue;
    }
    const auto idOf = [&](char c) { return byteIds[static_cast<unsigned char>(c)]; };
    // As in the original, bytes are emitted before a pending unknown character that may be fused with the
    // next one.
    if (options_.byteFallback && std::all_of(one.begin(), one.end(), [&](char c) { return idOf(c) >= 0; })) {
      for (const char c : one) add(idOf(c));
      continue;
    }
    if (unknownId < 0) continue;
    if (pending && !options_.fuseUnknown) add(unknownId);
    pending = true;
  }
  if (pending) add(unknownId);
}

void Bpe::encode(std::string_view word, bool, Ids& out) const {
  if (options_.ignoreMerges)
    if (const int64_t whole = pieces.find(word); whole >= 0) {
      out.push_back(static_cast<int32_t>(whole));
      return;
    }
  std::vector<Symbol> symbols;
  split(word, symbols);
  // The lowest rank comes first; of equal ranks, the leftmost pair.
  struct Candidate {
    uint32_t rank, merged;
    int32_t left;
    bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : left > o.left; }
  };
  std::vector<Candidate> room;
  const auto offer = [&](int32_t left, int32_t right, auto& to) {
    const Merges::Merge* merge =
        merges_.find(symbols[static_cast<size_t>(left)].id, symbols[static_cast<size_t>(right)].id);
    if (merge) to({merge->rank, merge->merged, left});
  };
  const auto collect = [&](const Candidate& c) { room.push_back(c); };
  for (size_t i = 0; i + 1 < symbols.size(); ++i)
    offer(static_cast<int32_t>(i), static_cast<int32_t>(i + 1), collect);
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue({}, std::move(room));
  const auto push = [&](const Candidate& c) { queue.push(c); };
  for (size_t step = 1; !queue.empty(); ++step) {
    look(step);
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<size_t>(top.left)];
    if (left.gone || left.after < 0) continue;
    Symbol& right = symbols[static_cast<size_t>(left.after)];
    // The pair may have changed in the meantime.
    const Merges::Merge* now = merges_.find(left.id, right.id);
    if (!now || now->merged != top.merged) continue;
    left.id = top.merged;
    right.gone = true;
    left.after = right.after;
    if (left.after >= 0) symbols[static_cast<size_t>(left.after)].before = top.left;
    if (left.before >= 0) offer(left.before, top.left, push);
    if (left.after >= 0) offer(top.left, left.after, push);
  }
  for (const Symbol& symbol : symbols)
    if (!symbol.gone) out.push_back(static_cast<int32_t>(symbol.id));
}

// ---- WordPiece

WordPiece::WordPiece(Pieces own, int32_t unknown, std::string continuingPrefix, uint32_t longest)
    : prefix_(std::move(continuingPrefix)), longest_(longest) {
  pieces = std::move(own);
  unknownId = unknown;
  byteIds.fill(-1);
}

void WordPiece::encode(std::string_view word, bool, Ids& out) const {
  uint32_t characters = 0;
  for (size_t at = 0; at < word.size() && characters <= longest_; ++characters) next(word, at);
  if (characters > longest_) {
    out.push_back(unknownId);
    return;
  }
  const size_t first = out.size();
  std::string spelling;
  for (size_t start = 0; start < word.size();) {
    size_t end = word.size();
    int64_t id = -1;
    while (end > start) {
      spelling = start > 0 ? prefix_ : "";
      spelling += word.substr(start, end - start);
      id = pieces.find(spelling);
      if (id >= 0) break;
      do --end;
      while (end > start && (static_cast<unsigned char>(word[end]) & 0xc0) == 0x80);
    }
    if (id < 0) {
      out.resize(first);
      out.push_back(unknownId);
      return;
    }
    out.push_back(static_cast<int32_t>(id));
    start = end;
  }
}

}  // namespace clip::tokenizer
