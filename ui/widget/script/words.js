// What the widget says, a column for each language. An owner overrides any of it by the site's `texts`; a language that
// is not here is English. Words in one column only are everybody's.
const LANGUAGES = ["en", "de", "fr", "es"];
const WORDS = {
  title: ["Support"],
  open: ["Open the chat", "Chat öffnen", "Ouvrir le chat", "Abrir el chat"],
  close: ["Close", "Schließen", "Fermer", "Cerrar"],
  fresh: ["New conversation", "Neue Unterhaltung", "Nouvelle conversation", "Nueva conversación"],
  past: ["Your conversations", "Ihre Unterhaltungen", "Vos conversations", "Sus conversaciones"],
  back: ["Back", "Zurück", "Retour", "Volver"],
  ask: ["Write a message …", "Schreiben Sie eine Nachricht …", "Écrivez un message …", "Escriba un mensaje …"],
  send: ["Send", "Senden", "Envoyer", "Enviar"],
  stop: ["Stop", "Anhalten", "Arrêter", "Parar"],
  greeting: [
    "Hello! What would you like to know?", "Hallo! Was möchten Sie wissen?",
    "Bonjour ! Que souhaitez-vous savoir ?", "¡Hola! ¿Qué le gustaría saber?",
  ],
  automatic: ["Automatic assistant", "Automatischer Assistent", "Assistant automatique", "Asistente automático"],
  waiting: [
    "A person has been told", "Ein Mensch ist verständigt",
    "Une personne est prévenue", "Se ha avisado a una persona",
  ],
  person: [
    "You are talking to a person: {agent}", "Sie sprechen mit einem Menschen: {agent}",
    "Vous parlez à une personne : {agent}", "Está hablando con una persona: {agent}",
  ],
  human: ["Person", "Mensch", "Personne", "Persona"],
  you: ["You", "Sie", "Vous", "Usted"],
  assistant: ["Assistant", "Assistent", "Assistant", "Asistente"],
  talk: ["Talk to a person", "Mit einem Menschen sprechen", "Parler à une personne", "Hablar con una persona"],
  talkWhat: [
    "A person will see this conversation and answer you here.",
    "Ein Mensch sieht diese Unterhaltung und antwortet Ihnen hier.",
    "Une personne verra cette conversation et vous répondra ici.",
    "Una persona verá esta conversación y le responderá aquí.",
  ],
  note: ["What should they know?", "Was sollte man wissen?", "Que doit-elle savoir ?", "¿Qué debería saber?"],
  talkSend: ["Ask for a person", "Einen Menschen rufen", "Demander une personne", "Pedir una persona"],
  told: [
    "A person has been told and will answer here. Until then the assistant goes on answering.",
    "Ein Mensch ist verständigt und antwortet hier. Bis dahin antwortet der Assistent weiter.",
    "Une personne est prévenue et répondra ici. D'ici là, l'assistant continue de répondre.",
    "Se ha avisado a una persona, que responderá aquí. Mientras tanto sigue respondiendo el asistente.",
  ],
  sources: ["Sources", "Quellen", "Sources", "Fuentes"],
  closest: ["Closest sources", "Nächstliegende Quellen", "Sources les plus proches", "Fuentes más cercanas"],
  page: ["page {n}", "Seite {n}", "page {n}", "página {n}"],
  visit: ["Open the page", "Seite öffnen", "Ouvrir la page", "Abrir la página"],
  prompting: ["Direct answer", "Direkte Antwort", "Réponse directe", "Respuesta directa"],
  rag: ["From the documents", "Aus den Dokumenten", "D'après les documents", "De los documentos"],
  lora: ["From the specialist", "Vom Spezialisten", "D'après le spécialiste", "Del especialista"],
  none: ["No answer I am sure of", "Keine sichere Antwort", "Pas de réponse sûre", "Sin respuesta segura"],
  trying_prompting: [
    "Trying a direct answer …", "Direkte Antwort wird versucht …",
    "Essai d'une réponse directe …", "Probando una respuesta directa …",
  ],
  trying_rag: [
    "Looking it up in the documents …", "In den Dokumenten wird gesucht …",
    "Recherche dans les documents …", "Buscando en los documentos …",
  ],
  trying_lora: [
    "Asking the specialist …", "Der Spezialist wird gefragt …",
    "Le spécialiste est consulté …", "Preguntando al especialista …",
  ],
  thinking: [
    "Understanding the question …", "Die Frage wird gelesen …",
    "Lecture de la question …", "Leyendo la pregunta …",
  ],
  good: ["Helpful", "Hilfreich", "Utile", "Útil"],
  bad: ["Not helpful", "Nicht hilfreich", "Pas utile", "No es útil"],
  why: [
    "What was not good about it?", "Was war daran nicht gut?",
    "Qu'est-ce qui n'allait pas ?", "¿Qué no estuvo bien?",
  ],
  words: ["In your words", "In Ihren Worten", "Avec vos mots", "Con sus palabras"],
  thanks: ["Thank you.", "Danke.", "Merci.", "Gracias."],
  copy: ["Copy", "Kopieren", "Copier", "Copiar"],
  copied: ["Copied", "Kopiert", "Copié", "Copiado"],
  retry: ["Try again", "Noch einmal", "Réessayer", "Reintentar"],
  stopped: ["Stopped.", "Angehalten.", "Arrêté.", "Parado."],
  failed: ["That did not work.", "Das hat nicht geklappt.", "Cela n'a pas marché.", "No ha funcionado."],
  lost: [
    "The connection was lost.", "Die Verbindung ist abgerissen.",
    "La connexion a été coupée.", "Se perdió la conexión.",
  ],
  busy: [
    "There are too many questions right now.", "Im Moment sind es zu viele Fragen.",
    "Il y a trop de questions en ce moment.", "Hay demasiadas preguntas en este momento.",
  ],
  again: [
    "You can try again in {n} s.", "In {n} s können Sie es noch einmal versuchen.",
    "Vous pourrez réessayer dans {n} s.", "Podrá reintentarlo en {n} s.",
  ],
  offline: ["You are offline.", "Sie sind offline.", "Vous êtes hors ligne.", "No tiene conexión."],
  joining: ["Connecting again …", "Verbindung wird wiederhergestellt …", "Reconnexion …", "Conectando de nuevo …"],
  before: ["Before we start", "Bevor wir anfangen", "Avant de commencer", "Antes de empezar"],
  start: ["Start the conversation", "Unterhaltung beginnen", "Commencer la conversation", "Empezar la conversación"],
  optional: ["optional", "freiwillig", "facultatif", "opcional"],
  none_yet: [
    "No conversations yet.", "Noch keine Unterhaltungen.",
    "Pas encore de conversation.", "Todavía no hay conversaciones.",
  ],
  unread: ["{n} new messages", "{n} neue Nachrichten", "{n} nouveaux messages", "{n} mensajes nuevos"],
  newest: ["Newest messages", "Neueste Nachrichten", "Derniers messages", "Últimos mensajes"],
  speaks: [
    "The assistant answers in {languages}.", "Der Assistent antwortet auf {languages}.",
    "L'assistant répond en {languages}.", "El asistente responde en {languages}.",
  ],
  hint: ["Answers can be wrong.", "Antworten können falsch sein.", "Il peut se tromper.", "Puede equivocarse."],
};

// What the server says in English, in the other languages; tests hold these against the server's own sentences.
const SERVER_WORDS = {
  "very likely right": ["sehr wahrscheinlich richtig", "très probablement juste", "muy probablemente correcto"],
  "likely right": ["wahrscheinlich richtig", "probablement juste", "probablemente correcto"],
  "more likely right than not": ["eher richtig", "plutôt juste", "más bien correcto"],
  "unsure": ["unsicher", "incertain", "inseguro"],
  "confidence unknown": ["Sicherheit unbekannt", "confiance inconnue", "confianza desconocida"],
  "Wrong": ["Falsch", "Faux", "Incorrecto"],
  "Not what I asked": ["Nicht meine Frage", "Pas ma question", "No es lo que pregunté"],
  "Out of date": ["Veraltet", "Dépassé", "Anticuado"],
  "Hard to understand": ["Schwer verständlich", "Difficile à comprendre", "Difícil de entender"],
  "Something else": ["Etwas anderes", "Autre chose", "Otra cosa"],
  "{agent} from support has joined. You are talking to a person now.": [
    "{agent} ist da. Sie sprechen jetzt mit einem Menschen.", "{agent} est là. Vous parlez maintenant à une personne.",
    "{agent} está aquí. Ahora habla con una persona.",
  ],
  "{agent} has left. The assistant answers again; you can contact support at any time.": [
    "{agent} ist gegangen. Der Assistent antwortet wieder.", "{agent} est parti. L'assistant répond de nouveau.",
    "{agent} se ha ido. El asistente vuelve a responder.",
  ],
  "{agent} has marked this conversation as resolved. The assistant answers again if you write more.": [
    "{agent} hält das für erledigt. Wenn Sie weiterschreiben, antwortet der Assistent.",
    "{agent} considère que c'est résolu. Si vous écrivez encore, l'assistant répondra.",
    "{agent} lo da por resuelto. Si escribe más, responderá el asistente.",
  ],
};
const REASONS = ["Wrong", "Not what I asked", "Out of date", "Hard to understand", "Something else"];

const filled = (words, values) => words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

// `tell(key, values)` gives words of one's own, `tell.server(text)` the server's in the reader's language.
const teller = (language, overrides = {}) => {
  const column = Math.max(0, LANGUAGES.indexOf(language.slice(0, 2).toLowerCase()));
  const tell = (key, values = {}) => filled(String(overrides[key] ?? WORDS[key]?.[column] ?? WORDS[key]?.[0] ?? ""), values);
  tell.language = column || Object.keys(overrides).length ? language : "en";
  tell.server = (text) => {
    if (!column) return text;
    for (const [english, others] of Object.entries(SERVER_WORDS)) {
      const told = others[column - 1];
      const [before, rest] = english.split("{agent}");
      if (rest && text.endsWith(rest)) return filled(told, { agent: text.slice(0, -rest.length) });
      if (!rest && (text === before || text.startsWith(`${before} (`))) return told + text.slice(before.length);
    }
    return text;
  };
  return tell;
};

// The language to speak: `auto` is the page's own, else the browser's.
const languageOf = (wanted) => {
  try {
    return Intl.getCanonicalLocales(wanted === "auto" ? document.documentElement.lang || navigator.language : wanted)[0];
  } catch {
    return "en";
  }
};

// That the assistant answers in other languages than the reader's; null where it speaks theirs, or any.
const speaksOnly = (tell, languages) => {
  const short = (language) => language.slice(0, 2).toLowerCase();
  if (!languages?.length || languages.some((language) => short(language) === short(tell.language))) return null;
  const names = new Intl.DisplayNames(tell.language, { type: "language" });
  return tell("speaks", { languages: languages.map((language) => names.of(language)).join(", ") });
};
